//! `SIMILAR TO` as a match of a regular expression.
//!
//! In: a pattern of SQL. Out: the regular expression that matches the same texts, all of each. `%` and `_` are wildcards;
//! `| * + ? {m,n} ( ) [ ]` mean what they mean in regular expressions; all else, and what follows the escape character, is
//! itself. Source: ISO 9075-2, 8.6 (similar predicate), with PostgreSQL's default escape character, `\`.

use std::iter::Peekable;
use std::str::Chars;

use datafusion::sql::sqlparser::ast::{BinaryOperator, CastKind, DataType, Expr, Value, ValueWithSpan};

use crate::{Error, Result};

/// Rewrites `x SIMILAR TO 'pattern'` to `x ~ 'regular expression'`. Any other expression stays.
///
/// # Errors
/// If the pattern or the escape character is wrong, or no literal.
pub(super) fn as_regular_expression(expr: &mut Expr) -> Result<()> {
    let Expr::SimilarTo { negated, expr: text, pattern, escape_char } = expr else { return Ok(()) };
    let Expr::Value(pattern) = without_parentheses(pattern) else {
        return Err(Error::unsupported("SIMILAR TO", "a pattern that is not a literal; regexp_like() takes any"));
    };
    if pattern.value == Value::Null {
        *expr = null_condition();
        return Ok(());
    }
    let Some(pattern) = pattern.value.clone().into_string() else {
        return Err(Error::Invalid(format!("the pattern of SIMILAR TO is a text, and {pattern} is not")));
    };
    let escape = escape_character(escape_char.as_ref())?;
    let regex = Translation { rest: pattern.chars().peekable(), escape, regex: String::new() }.whole()?;
    let op = if *negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    let text = std::mem::replace(text, Box::new(Expr::value(Value::Null)));
    *expr = Expr::BinaryOp { left: text, op, right: Box::new(Expr::value(Value::SingleQuotedString(regex))) };
    Ok(())
}

fn without_parentheses(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => without_parentheses(inner),
        other => other,
    }
}

fn null_condition() -> Expr {
    let null = Box::new(Expr::value(Value::Null));
    Expr::Cast { kind: CastKind::Cast, expr: null, data_type: DataType::Boolean, array: false, format: None }
}

/// The character of ESCAPE; none if it is empty.
fn escape_character(escape: Option<&ValueWithSpan>) -> Result<Option<char>> {
    let Some(escape) = escape else { return Ok(Some('\\')) };
    let text = escape.value.clone().into_string().unwrap_or_else(|| escape.to_string());
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (first, None) => Ok(first),
        _ => Err(Error::Invalid(format!("the escape character of SIMILAR TO is one character, and {escape} is not"))),
    }
}

/// A pattern on its way to a regular expression.
struct Translation<'p> {
    rest: Peekable<Chars<'p>>,
    escape: Option<char>,
    regex: String,
}

impl Translation<'_> {
    fn whole(mut self) -> Result<String> {
        self.regex.push_str("^(?s:");
        while let Some(character) = self.rest.next() {
            match character {
                _ if self.escape == Some(character) => self.escaped()?,
                '%' => self.regex.push_str(".*"),
                '_' => self.regex.push('.'),
                // A question mark behind it is no flag of the group, as it would be in a regular expression.
                '(' => self.regex.push_str("(?:"),
                '|' | '*' | '+' | '?' | '{' | '}' | ')' => self.regex.push(character),
                '[' => self.bracket()?,
                other => self.literal(other),
            }
        }
        self.regex.push_str(")$");
        Ok(self.regex)
    }

    /// A character that means itself.
    fn literal(&mut self, character: char) {
        if matches!(character, '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$')
            || matches!(character, '#' | '&' | '-' | '~')
        {
            self.regex.push('\\');
        }
        self.regex.push(character);
    }

    /// What follows the escape character.
    fn escaped(&mut self) -> Result<()> {
        match self.rest.next() {
            Some(next) if next.is_alphanumeric() && self.escape != Some(next) => Err(Error::Invalid(format!(
                "in a pattern of SIMILAR TO, {next} stands for itself and must not be escaped"
            ))),
            Some(next) => {
                self.literal(next);
                Ok(())
            }
            None => Err(Error::Invalid("a pattern of SIMILAR TO ends with its escape character".to_owned())),
        }
    }

    /// `[abc]`, `[^a-z]`, `[[:digit:]_]`: one character.
    fn bracket(&mut self) -> Result<()> {
        let open = || Error::Invalid("in a pattern of SIMILAR TO, [ is not closed".to_owned());
        self.regex.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.regex.push('^');
        }
        let mut is_first = true;
        loop {
            match self.rest.next().ok_or_else(open)? {
                ']' if !is_first => break,
                '[' if self.rest.peek() == Some(&':') => self.class().ok_or_else(open)?,
                member => {
                    self.member(member)?;
                    self.range()?;
                }
            }
            is_first = false;
        }
        self.regex.push(']');
        Ok(())
    }

    fn member(&mut self, member: char) -> Result<()> {
        if self.escape == Some(member) {
            return self.escaped();
        }
        self.literal(member);
        Ok(())
    }

    /// The second half of a range, if a hyphen and not the end of the bracket follows.
    fn range(&mut self) -> Result<()> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('-') || matches!(ahead.peek(), None | Some(']')) {
            return Ok(());
        }
        self.rest.next();
        self.regex.push('-');
        match self.rest.next() {
            Some(last) => self.member(last),
            None => Ok(()),
        }
    }

    /// `[:digit:]` within a bracket; none if it does not end.
    fn class(&mut self) -> Option<()> {
        self.regex.push('[');
        loop {
            let character = self.rest.next()?;
            self.regex.push(character);
            if character == ']' {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(pattern: &str, escape: Option<char>) -> Result<String> {
        let regex = Translation { rest: pattern.chars().peekable(), escape, regex: String::new() }.whole()?;
        Ok(regex.trim_start_matches("^(?s:").trim_end_matches(")$").to_owned())
    }

    #[test]
    fn only_what_is_special_in_sql_is_special() {
        for (pattern, expected) in [
            ("a%b_c", "a.*b.c"),
            ("(ab|c)*d+e?f{2,3}", "(?:ab|c)*d+e?f{2,3}"),
            ("a.b^c$d\\\\", "a\\.b\\^c\\$d\\\\"),
            ("100\\%\\_", "100%_"),
            ("(?i)", "(?:?i)"),
            ("[a-z%_.]", "[a-z%_\\.]"),
            ("[^]a]", "[^\\]a]"),
            ("[[:digit:]-]", "[[:digit:]\\-]"),
            ("[a&&b--c\\]]", "[a\\&\\&b-\\-c\\]]"),
            ("[[]", "[\\[]"),
        ] {
            assert_eq!(regex(pattern, Some('\\')).expect(pattern), expected, "{pattern}");
        }
        assert_eq!(regex("a#%##\\", Some('#')).expect("it ends"), "a%\\#\\\\");
        assert_eq!(regex("a\\%", None).expect("it ends"), "a\\\\.*");
    }

    #[test]
    fn patterns_that_do_not_end_are_refused() {
        for pattern in ["a\\", "[a", "[", "[[:digit", "\\d", "[a-\\"] {
            assert!(regex(pattern, Some('\\')).is_err(), "{pattern}");
        }
    }
}
