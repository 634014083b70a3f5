//! A typed reader over parsed TOML that goes on after an error, so that all of them are told at once.
//!
//! Knows types and keys. Every function answers `None` for a key that is absent, and also for one whose value is of the wrong type:
//! that has then been reported.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::place::{At, Report, Span};
use super::suggest;

/// A table and how to speak of it.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) entries: &'a DeTable<'a>,
    pub(super) span: Span,
    /// As in messages: `` `[[policy]]` ``.
    pub(super) what: &'static str,
}

/// A value that may be written as a number or as a word.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// `443`
    Integer(i64),
    /// `"https"`
    Word(String),
}

/// A value that is `true`, `false` or a word for something between.
#[derive(Debug, Clone, PartialEq)]
pub enum FlagOrWord {
    /// `true`
    Flag(bool),
    /// `"sockets"`
    Word(String),
}

pub(super) struct Reader<'r> {
    pub(super) file: usize,
    pub(super) report: &'r mut Report,
}

impl<'a> Block<'a> {
    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries.get(key)
    }
}

impl Reader<'_> {
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        Span { file: self.file, start: range.start, end: range.end }
    }

    /// Reports every key that is not known.
    pub(super) fn keys(&mut self, block: Block<'_>, known: &[&'static str]) {
        for key in block.entries.keys() {
            let name: &DeString<'_> = key.get_ref();
            let span = self.span(key.span());
            if !known.contains(&name.as_ref()) {
                let help = suggest::help(name, "known keys", known);
                self.report.error(span, format!("unknown key `{name}` in {}", block.what)).help(help);
            }
        }
    }

    /// Reports a key that must be there and is not.
    pub(super) fn require(&mut self, block: Block<'_>, key: &str) {
        if block.get(key).is_none() {
            self.report.error(block.span, format!("{} lacks the key `{key}`", block.what)).label(format!("`{key}` is required here"));
        }
    }

    pub(super) fn string(&mut self, block: Block<'_>, key: &str) -> Option<At<String>> {
        let value = block.get(key)?;
        self.one_string(value, &format!("`{key}`"))
    }

    pub(super) fn boolean(&mut self, block: Block<'_>, key: &str) -> Option<At<bool>> {
        let value = block.get(key)?;
        let span = self.span(value.span());
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong_type(value, &format!("`{key}`"), "true or false");
        }
        found.map(|value| At { value, span })
    }

    pub(super) fn integer(&mut self, block: Block<'_>, key: &str) -> Option<At<i64>> {
        let value = block.get(key)?;
        self.one_integer(value, &format!("`{key}`"), "an integer")
    }

    pub(super) fn scalar(&mut self, block: Block<'_>, key: &str) -> Option<At<Scalar>> {
        let value = block.get(key)?;
        self.one_scalar(value, &format!("`{key}`"))
    }

    /// `true`, `false` or a word.
    pub(super) fn flag_or_word(&mut self, block: Block<'_>, key: &str) -> Option<At<FlagOrWord>> {
        let value = block.get(key)?;
        let span = self.span(value.span());
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(At { value: FlagOrWord::Flag(*flag), span }),
            DeValue::String(word) => Some(At { value: FlagOrWord::Word(word.clone().into_owned()), span }),
            _ => {
                self.wrong_type(value, &format!("`{key}`"), "true, false or a string");
                None
            }
        }
    }

    /// A date and time, TOML's own or in a string.
    pub(super) fn moment(&mut self, block: Block<'_>, key: &str) -> Option<At<String>> {
        let value = block.get(key)?;
        if let DeValue::Datetime(moment) = value.get_ref() {
            return Some(At { value: moment.to_string(), span: self.span(value.span()) });
        }
        if let DeValue::String(text) = value.get_ref() {
            return Some(At { value: text.clone().into_owned(), span: self.span(value.span()) });
        }
        self.wrong_type(value, &format!("`{key}`"), "a date with a time");
        None
    }

    pub(super) fn duration(&mut self, block: Block<'_>, key: &str) -> Option<At<String>> {
        self.with_unit(block, key, "s")
    }

    pub(super) fn rate(&mut self, block: Block<'_>, key: &str) -> Option<At<String>> {
        self.with_unit(block, key, "/s")
    }

    /// What is measured is a string; whoever writes a number is told which.
    fn with_unit(&mut self, block: Block<'_>, key: &str, unit: &str) -> Option<At<String>> {
        let value = block.get(key)?;
        if let DeValue::Integer(number) = value.get_ref() {
            let span = self.span(value.span());
            let help = format!("write a number with its unit: `{key} = \"{number}{unit}\"`");
            self.report.error(span, format!("`{key}` must be a string, not an integer")).help(help);
            return None;
        }
        self.one_string(value, &format!("`{key}`"))
    }

    pub(super) fn strings(&mut self, block: Block<'_>, key: &str) -> Option<At<Vec<At<String>>>> {
        let what = format!("an element of `{key}`");
        self.list(block, key, "strings", |reader, value| reader.one_string(value, &what))
    }

    pub(super) fn scalars(&mut self, block: Block<'_>, key: &str) -> Option<At<Vec<At<Scalar>>>> {
        let what = format!("an element of `{key}`");
        self.list(block, key, "numbers or strings", |reader, value| reader.one_scalar(value, &what))
    }

    /// `vlan = 10` or `vlan = [10, 20]`.
    pub(super) fn vlan(&mut self, block: Block<'_>, key: &str) -> Option<At<Vec<At<i64>>>> {
        let value = block.get(key)?;
        let span = self.span(value.span());
        let DeValue::Array(array) = value.get_ref() else {
            let tag = self.one_integer(value, &format!("`{key}`"), "a number or [outer, inner]")?;
            return Some(At { value: vec![tag], span });
        };
        if array.len() != 2 {
            self.report
                .error(span, format!("`{key}` as an array needs two tags"))
                .help("write one tag as `vlan = 10`, two as `vlan = [outer, inner]`");
            return None;
        }
        let tags: Vec<_> = array.iter().filter_map(|tag| self.one_integer(tag, &format!("an element of `{key}`"), "an integer")).collect();
        (tags.len() == 2).then_some(At { value: tags, span })
    }

    /// A table under a key: `[a.b]` or `b = { … }`.
    pub(super) fn table<'a>(&mut self, block: Block<'a>, key: &str, what: &'static str) -> Option<Block<'a>> {
        let value = block.get(key)?;
        let span = self.span(value.span());
        match value.get_ref() {
            DeValue::Table(entries) => Some(Block { entries, span, what }),
            _ => {
                self.wrong_type(value, &format!("`{key}`"), "a table");
                if let (Some(example), Some(said)) = (table_example(key), self.report.diagnostics.last_mut()) {
                    said.help(format!("write for example `{key} = {example}`"));
                }
                None
            }
        }
    }

    /// An array of tables under a key: `[[a.b]]`, or `b = [{ … }]`.
    pub(super) fn tables<'a>(&mut self, block: Block<'a>, key: &str, what: &'static str) -> Option<At<Vec<Block<'a>>>> {
        let value = block.get(key)?;
        let span = self.span(value.span());
        let mut blocks = Vec::new();
        match value.get_ref() {
            DeValue::Array(array) => {
                for item in array.iter() {
                    match item.get_ref() {
                        DeValue::Table(entries) => blocks.push(Block { entries, span: self.span(item.span()), what }),
                        _ => self.wrong_type(item, &format!("an element of `{key}`"), "a table"),
                    }
                }
            }
            DeValue::Table(_) if what.starts_with("`[[") => {
                let message = format!("`{key}` must be an array of tables");
                self.report.error(span, message).help(format!("write {what}, and begin each one so"));
            }
            _ => self.wrong_type(value, &format!("`{key}`"), "an array of tables"),
        }
        Some(At { value: blocks, span })
    }

    fn list<T>(
        &mut self,
        block: Block<'_>,
        key: &str,
        of: &str,
        mut one: impl FnMut(&mut Self, &Spanned<DeValue<'_>>) -> Option<At<T>>,
    ) -> Option<At<Vec<At<T>>>> {
        let value = block.get(key)?;
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type(value, &format!("`{key}`"), &format!("an array of {of}"));
            if let (DeValue::Boolean(_), "syn_cookies", Some(said)) = (value.get_ref(), key, self.report.diagnostics.last_mut()) {
                said.help("name the ports: `syn_cookies = [80, 443]`");
            }
            return None;
        };
        let items: Vec<_> = array.iter().map(|item| one(self, item)).collect();
        let items: Option<Vec<_>> = items.into_iter().collect();
        items.map(|value_of| At { value: value_of, span: self.span(value.span()) })
    }

    fn one_string(&mut self, value: &Spanned<DeValue<'_>>, what: &str) -> Option<At<String>> {
        match value.get_ref() {
            DeValue::String(text) => Some(At { value: text.clone().into_owned(), span: self.span(value.span()) }),
            _ => {
                self.wrong_type(value, what, "a string");
                None
            }
        }
    }

    fn one_integer(&mut self, value: &Spanned<DeValue<'_>>, what: &str, wanted: &str) -> Option<At<i64>> {
        let span = self.span(value.span());
        match value.get_ref() {
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(value) => Some(At { value, span }),
                Err(_too_large) => {
                    self.report.error(span, format!("{what} is too large"));
                    None
                }
            },
            _ => {
                self.wrong_type(value, what, wanted);
                None
            }
        }
    }

    fn one_scalar(&mut self, value: &Spanned<DeValue<'_>>, what: &str) -> Option<At<Scalar>> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(At { value: Scalar::Word(text.clone().into_owned()), span: self.span(value.span()) });
        }
        let number = self.one_integer(value, what, "a number or a string")?;
        Some(At { value: Scalar::Integer(number.value), span: number.span })
    }

    fn wrong_type(&mut self, value: &Spanned<DeValue<'_>>, what: &str, wanted: &str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        let span = self.span(value.span());
        let diagnostic = self.report.error(span, format!("{what} must be {wanted}, not {found}"));
        if wanted.starts_with("an array of") && matches!(value.get_ref(), DeValue::String(_) | DeValue::Integer(_)) {
            diagnostic.help("put it in brackets: `[…]`");
        }
    }
}

/// How the table of a key looks, for those that are often written as a single value.
fn table_example(key: &str) -> Option<&'static str> {
    match key {
        "default_action" => Some(r#"{ ingress = "deny", egress = "allow" }"#),
        "source" | "destination" => Some(r#"{ nets = ["192.0.2.0/24"], ports = [443] }"#),
        "icmp" => Some(r#"{ type = "echo-request" }"#),
        "limit" => Some(r#"{ rate = "200/s", burst = 400, per = "source" }"#),
        "log" => Some(r#"{ rate = "10/s", burst = 10 }"#),
        "metrics" => Some(r#"{ listen = "127.0.0.1:9472" }"#),
        "rate_limit" => Some(r#"{ packets = "10000/s", syns = "100/s" }"#),
        "packet" => Some(r#"{ protocol = "tcp", source = "192.0.2.1:40000", destination = "198.51.100.1:443" }"#),
        _ => None,
    }
}
