//! Cuts a script into statements and backslash commands.
//!
//! A statement ends at a semicolon outside of quotes and comments. A backslash at the beginning of a piece makes a command
//! of the rest of its line.

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
        let end = statement_end(rest);
        let (sql, after) = end.map_or((rest, ""), |end| (&rest[..end], &rest[end + 1..]));
        if !is_blank(sql) {
            pieces.push(Piece::Statement(sql.trim().to_owned()));
        }
        if end.is_none() {
            return (pieces, !is_blank(sql));
        }
        rest = after;
    }
}

/// Where the semicolon is that ends the first statement.
fn statement_end(sql: &str) -> Option<usize> {
    scan(sql).find(|(_, token)| *token == Token::Semicolon).map(|(at, _)| at)
}

/// Whether there is nothing to run: only white space and comments.
fn is_blank(sql: &str) -> bool {
    scan(sql).next().is_none()
}

/// What scanning tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Semicolon,
    Other,
}

/// The positions of everything that is not white space or comment; a quoted text is one token.
fn scan(sql: &str) -> impl Iterator<Item = (usize, Token)> + '_ {
    let bytes = sql.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            match bytes[at] {
                b'-' if bytes.get(at + 1) == Some(&b'-') => at = find(bytes, at, b"\n"),
                b'/' if bytes.get(at + 1) == Some(&b'*') => at = skip_block_comment(bytes, at),
                quote @ (b'\'' | b'"' | b'`') => {
                    at = find(bytes, at + 1, &[quote]);
                    return Some((start, Token::Other));
                }
                b';' => {
                    at += 1;
                    return Some((start, Token::Semicolon));
                }
                byte if byte.is_ascii_whitespace() => at += 1,
                _ => {
                    at += 1;
                    return Some((start, Token::Other));
                }
            }
        }
        None
    })
}

/// The position after the next occurrence of `end`, or the end of the text.
fn find(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(end.len()).position(|window| window == end).map_or(bytes.len(), |found| from + found + end.len())
}

/// The position after a comment, which may hold others.
fn skip_block_comment(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < bytes.len() {
        match &bytes[at..(at + 2).min(bytes.len())] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
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
    }

    #[test]
    fn nothing_is_not_a_statement() {
        pieces("", &[], false);
        pieces(" ;; -- only a comment\n /* and another */ ;", &[], false);
    }

    #[test]
    fn a_backslash_begins_a_command_of_one_line() {
        pieces("\\timing\nselect 1;\n\\d orders;\n", &["\\timing", "select 1", "\\d orders"], false);
        pieces("select '\n\\q';", &["select '\n\\q'"], false);
    }
}
