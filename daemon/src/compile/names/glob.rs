//! A glob as steps over the bytes of a name. Means what [`glob::Pattern`] means, which a property test holds it to.
//!
//! A character that is not ASCII is several bytes. A class that names such characters one by one (`[ä-ü]`) is read towards refusing:
//! among included names it stands for all of them, among excluded ones for none. Names that are not UTF-8 are matched by `*` only.

/// Whether a pattern selects names or takes them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// As it is written.
    Include,
    /// Written with a leading `!`.
    Exclude,
}

/// One step of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// This byte.
    Byte(u8),
    /// One character: of ASCII those whose bit is set, and any other where `beyond`.
    One { ascii: u128, beyond: bool },
    /// Any bytes, or none.
    Any,
}

/// A pattern and how far a name has gone in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which pattern.
    pub pattern: u32,
    /// Steps that are done.
    pub step: u32,
    /// Bytes that the character of this step still has.
    pub rest: u8,
}

/// A name without anything that a glob gives a meaning to.
pub fn is_literal(text: &str) -> bool {
    !text.contains(['*', '?', '['])
}

/// The steps of a pattern that [`glob::Pattern`] has accepted.
pub fn steps(pattern: &str, side: Side) -> Vec<Step> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut steps = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            '*' if steps.last() == Some(&Step::Any) => {}
            '*' => steps.push(Step::Any),
            '?' => steps.push(Step::One { ascii: u128::MAX, beyond: true }),
            '[' => {
                let negated = chars.get(at) == Some(&'!');
                let first = at + usize::from(negated);
                // A `]` in the first place is a member.
                let length = chars.iter().skip(first + 1).position(|c| *c == ']').map_or(0, |more| more + 1);
                let members = chars.get(first..first + length).unwrap_or_default();
                steps.push(class(members, negated, side));
                at = first + length + 1;
            }
            c => steps.extend(c.encode_utf8(&mut [0; 4]).bytes().map(Step::Byte)),
        }
    }
    steps
}

fn class(members: &[char], negated: bool, side: Side) -> Step {
    let mut ascii = 0u128;
    let mut names_beyond = false;
    let mut at = 0;
    while let Some(&low) = members.get(at) {
        let range = members.get(at + 1) == Some(&'-') && at + 2 < members.len();
        let high = if range { members[at + 2] } else { low };
        at += if range { 3 } else { 1 };
        (0..128u8).filter(|c| (low..=high).contains(&char::from(*c))).for_each(|c| ascii |= 1 << c);
        names_beyond |= low <= high && !high.is_ascii();
    }
    let beyond = if names_beyond { side == Side::Include } else { negated };
    Step::One { ascii: if negated { !ascii } else { ascii }, beyond }
}

/// Where one byte leads from a place.
pub fn advance(place: Place, step: Step, byte: u8) -> Option<Place> {
    let next = Place { step: place.step + 1, rest: 0, ..place };
    match step {
        Step::Any => Some(place),
        Step::Byte(wanted) => (byte == wanted).then_some(next),
        Step::One { .. } if place.rest > 0 => {
            let rest = place.rest - 1;
            (byte & 0xc0 == 0x80).then_some(if rest == 0 { next } else { Place { rest, ..place } })
        }
        Step::One { ascii, .. } if byte < 128 => (ascii >> byte & 1 == 1).then_some(next),
        Step::One { beyond, .. } => {
            let rest = match byte {
                0xc2..=0xdf => 1,
                0xe0..=0xef => 2,
                0xf0..=0xf4 => 3,
                _ => return None,
            };
            beyond.then_some(Place { rest, ..place })
        }
    }
}
