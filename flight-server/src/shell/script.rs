//! Cuts a script into statements and backslash commands.
//!
//! A statement ends at a semicolon outside of quotes and comments, as the server's own tokenizer finds them. A backslash at
//! the beginning of a piece makes a command of the rest of its line. What is not closed is the server's to refuse.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// One thing to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// SQL, without the semicolon.
    Statement(String),
    /// A command, without the backslash.
    Command(String),
}

/// The pieces of a script, and whether the last statement lacks its semicolon.
pub(crate) fn split(script: &str) -> (Vec<Piece>, bool) {
    let mut pieces = Vec::new();
    let mut rest = script;
    loop {
        rest = rest.trim_start();
        if let Some(command) = rest.strip_prefix('\\') {
            let (line, after) = command.split_once('\n').unwrap_or((command, ""));
            pieces.push(Piece::Command(line.trim().trim_end_matches(';').trim_end().to_owned()));
            rest = after;
            continue;
        }
        let statements = Statements::before_command(rest);
        pieces.extend(statements.texts.into_iter().map(|sql| Piece::Statement(sql.to_owned())));
        if statements.rest.is_empty() {
            return (pieces, statements.open);
        }
        rest = statements.rest;
    }
}

/// The statements at the beginning of a text, without their semicolons.
struct Statements<'a> {
    texts: Vec<&'a str>,
    /// Whether the last one lacks its semicolon.
    open: bool,
    /// What follows: it begins with a command, or is empty.
    rest: &'a str,
}

impl<'a> Statements<'a> {
    fn before_command(sql: &'a str) -> Self {
        let mut tokens = Vec::new();
        let tokenized = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location_into_buf(&mut tokens);
        let mut places = Places::new(sql);
        let (mut texts, mut start, mut is_blank) = (Vec::new(), 0, true);
        for TokenWithSpan { token, span } in &tokens {
            match token {
                Token::Whitespace(_) => {}
                Token::SemiColon => {
                    let end = places.offset(span.start);
                    if !is_blank {
                        texts.push(sql[start..end].trim());
                    }
                    (start, is_blank) = (end + 1, true);
                    let rest = sql[start..].trim_start();
                    if rest.starts_with('\\') {
                        return Self { texts, open: false, rest };
                    }
                }
                _ => is_blank = false,
            }
        }
        // Behind the last token there is something that is not closed.
        let open = !is_blank || tokenized.is_err();
        if open {
            texts.push(sql[start..].trim());
        }
        Self { texts, open, rest: "" }
    }
}

/// The bytes of a text at which its lines and columns are, from the first to the last.
struct Places<'a> {
    characters: std::str::CharIndices<'a>,
    line: u64,
    column: u64,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Self { characters: text.char_indices(), line: 1, column: 1 }
    }

    /// The offset of a place that is not before those asked for so far.
    fn offset(&mut self, place: Location) -> usize {
        while (self.line, self.column) < (place.line, place.column) {
            match self.characters.next() {
                Some((_, '\n')) => (self.line, self.column) = (self.line + 1, 1),
                Some(_) => self.column += 1,
                None => break,
            }
        }
        self.characters.offset()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn pieces(script: &str, statements: &[&str], open: bool) {
        let expected: Vec<Piece> = statements
            .iter()
            .map(|text| match text.strip_prefix('\\') {
                Some(command) => Piece::Command(command.to_owned()),
                None => Piece::Statement((*text).to_owned()),
            })
            .collect();
        assert_eq!(split(script), (expected, open), "{script}");
    }

    #[test]
    fn semicolons_end_statements_outside_of_quotes_and_comments() {
        pieces("select 1; select 2;", &["select 1", "select 2"], false);
        pieces("select 1; select 2", &["select 1", "select 2"], true);
        pieces("select ';' , \"a;b\", 'it''s;';", &["select ';' , \"a;b\", 'it''s;'"], false);
        pieces("select 1 -- no; end\n;", &["select 1 -- no; end"], false);
        pieces("select /* a; /* b; */ c; */ 1;", &["select /* a; /* b; */ c; */ 1"], false);
        pieces("select 'open;", &["select 'open;"], true);
        pieces("select 'é;ß';", &["select 'é;ß'"], false);
        pieces("select $$a;b$$;select 2;", &["select $$a;b$$", "select 2"], false);
        pieces("select $x$a;$$;b$x$;", &["select $x$a;$$;b$x$"], false);
        pieces("select E'a\\';b'; select 'c\\';", &["select E'a\\';b'", "select 'c\\'"], false);
        pieces("select 'ü\n;', `ß;`\n;\n\nselect\r\n2\n;3", &["select 'ü\n;', `ß;`", "select\r\n2", "3"], true);
    }

    #[test]
    fn what_is_not_closed_is_a_statement_for_the_server_to_refuse() {
        pieces("select 1; /* never;", &["select 1", "/* never;"], true);
        pieces("/* a /* b */ c;", &["/* a /* b */ c;"], true);
        pieces("select 1; $$a;", &["select 1", "$$a;"], true);
    }

    #[test]
    fn nothing_is_not_a_statement() {
        pieces("", &[], false);
        pieces(" ;; -- only a comment\n /* and another */ ;", &[], false);
    }

    #[test]
    fn a_backslash_begins_a_command_of_one_line() {
        pieces("\\timing\nselect 1;\n\\d orders;\n", &["\\timing", "select 1", "\\d orders"], false);
        pieces("select 1;\\d it's;\nselect ';';", &["select 1", "\\d it's", "select ';'"], false);
        pieces("select 1\n\\q", &["select 1\n\\q"], true);
        pieces("select '\n\\q';", &["select '\n\\q'"], false);
    }
}
