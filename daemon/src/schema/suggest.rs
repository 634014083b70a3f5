//! "Did you mean": the nearest of the words that would have been right.

/// Words of other firewalls for ours.
const SYNONYMS: [(&str, &str); 13] = [
    ("accept", "allow"),
    ("permit", "allow"),
    ("drop", "deny"),
    ("block", "deny"),
    ("return", "pass"),
    ("continue", "pass"),
    ("in", "ingress"),
    ("input", "ingress"),
    ("out", "egress"),
    ("output", "egress"),
    ("priority", "order"),
    ("src", "source"),
    ("dst", "destination"),
];

/// The nearest candidate, if it is near enough to be meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = word.to_lowercase();
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let synonym = SYNONYMS.iter().find(|(theirs, _)| *theirs == wanted).map(|(_, ours)| *ours);
    if let Some(ours) = candidates.iter().find(|candidate| Some(**candidate) == synonym) {
        return Some(ours);
    }
    let ranked = candidates.into_iter().map(|candidate| {
        let lower = candidate.to_lowercase();
        (strsim::damerau_levenshtein(&wanted, &lower), strsim::jaro_winkler(&wanted, &lower), candidate)
    });
    let near = |&(distance, likeness, candidate): &(usize, f64, &str)| {
        distance <= wanted.chars().count().max(candidate.chars().count()) / 3 || likeness >= 0.88
    };
    ranked.filter(near).min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1))).map(|(_, _, candidate)| candidate)
}

/// Help for a wrong word: the nearest right one, or all of them.
pub fn help(word: &str, what: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if candidates.is_empty() => format!("there are no {what}"),
        None => format!("{what}: {}", candidates.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_misspelt_word_finds_the_right_one() {
        let keys = ["protocol", "policy_types", "ports", "source", "destination"];
        assert_eq!(nearest("port", keys), Some("ports"));
        assert_eq!(nearest("proto", keys), Some("protocol"));
        assert_eq!(nearest("SOURCE", keys), Some("source"));
        assert_eq!(nearest("sorce", keys), Some("source"));
        assert_eq!(nearest("dst", keys), Some("destination"));
        assert_eq!(nearest("banana", keys), None);
        assert_eq!(nearest("", keys), None);
    }
}
