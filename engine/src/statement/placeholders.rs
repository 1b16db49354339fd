//! Numbers a statement's parameters.
//!
//! In: the tokens of a statement. Out: the same, where each `?` is `$1`, `$2` and so on in the order of the text, and
//! how many values the statement takes. `$n` may be written too, and more than once; not both in one statement.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::{Error, Result};

/// Parameters that one statement may have.
const PARAMETERS_MAX: usize = 65_535;

/// Writes every placeholder as `$n`. Returns the number of values that the statement takes.
///
/// # Errors
/// If a placeholder has a name or the number 0, both kinds are there, or there are too many.
pub(super) fn number(tokens: &mut [TokenWithSpan]) -> Result<usize> {
    let (mut marks, mut highest) = (0_usize, 0_usize);
    for token in tokens {
        let Token::Placeholder(text) = &mut token.token else { continue };
        if text.as_str() == "?" {
            marks += 1;
            *text = format!("${marks}");
        } else {
            highest = highest.max(ordinal(text)?);
        }
    }
    if marks > 0 && highest > 0 {
        return Err(Error::Invalid("the statement has parameters of both kinds, ? and $1: use one".to_owned()));
    }
    match marks.max(highest) {
        count if count > PARAMETERS_MAX => {
            Err(Error::Invalid(format!("the statement has {count} parameters, and may have {PARAMETERS_MAX}")))
        }
        count => Ok(count),
    }
}

/// The number of a `$n`.
fn ordinal(text: &str) -> Result<usize> {
    match text.strip_prefix('$').map(str::parse::<usize>) {
        Some(Ok(ordinal)) if ordinal > 0 => Ok(ordinal),
        _ => Err(Error::unsupported(format!("the parameter {text}"), "write ?, or $1, $2 and so on")),
    }
}

#[cfg(test)]
mod tests {
    use crate::Error;
    use crate::statement::{self, Statement};

    fn numbered(sql: &str) -> (String, usize) {
        match statement::parse_with_parameters(sql) {
            Ok((Statement::Query(query), count)) => (query.to_string(), count),
            other => panic!("{sql} is {other:?}"),
        }
    }

    #[test]
    fn question_marks_are_numbered_as_they_come() {
        let (sql, count) = numbered("SELECT ?, '?' FROM t WHERE a IN (?, ?) AND \"?\" = ? LIMIT ?");
        assert_eq!(sql, "SELECT $1, '?' FROM t WHERE a IN ($2, $3) AND \"?\" = $4 LIMIT $5");
        assert_eq!(count, 5);
        assert_eq!(numbered("SELECT $2, $1, $2").1, 2);
        assert_eq!(numbered("SELECT 1").1, 0);
    }

    #[test]
    fn other_placeholders_are_refused() {
        for sql in ["SELECT $name", "SELECT $0", "SELECT ?, $1", "SELECT $99999999", "SHOW TABLES FROM s LIKE ?"] {
            assert!(statement::parse_with_parameters(sql).is_err(), "{sql}");
        }
        let refused = statement::parse_with_parameters("CALL system.warm(?)");
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    }
}
