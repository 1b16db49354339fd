//! Refuses texts that nest, chain or repeat further than the server can hold.
//!
//! In: the tokens of a statement, or of any other text that is parsed. Out: nothing, or one error with the place. Parsers, planners
//! and even the code that frees a tree recurse as deep as it is, so its depth is bounded here, right behind the tokenizer and before
//! there is a tree.
//!
//! A step down a tree takes a token that is no plain operand: an operator, a keyword, a bracket. So the tree of an expression is at
//! most as deep as it has such tokens, and the deepest of the brackets in it.
//!
//! ```text
//! SELECT a, f(b, c || d || e) + 1, …        f(…) + 1 has the depth 4: `(` and `+`, and in the bracket twice `||`
//! ```
//! A comma begins another expression, so lists may be as long as they want; WHEN and ELSE do in a CASE. What makes a query deeper though
//! commas stand in it, UNION and its like, is never forgotten.

use datafusion::arrow::datatypes::{DataType, FieldRef, Fields};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::{Error, Result};

/// The longest text, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 64 << 20;

/// How deep a tree may be. A chain of 1,000 comparisons takes most of it (`a = 1 OR a = 2`), and planning one takes seconds: the time
/// grows with the square of the depth.
const DEPTH_MAX: usize = 2_500;

/// Queries that a text may have. Those that are planned are counted once more when it is known what they read.
const QUERIES_MAX: usize = 2_000;

/// Types in types, such as `int[][]` or `array<array<int>>`, and the constructors of their values.
pub(crate) const TYPE_DEPTH_MAX: usize = 50;

/// Calls of `map()` in each other: the planner plans the arguments of each twice.
const MAPS_MAX: usize = 8;

/// The longest name, in bytes. Names that are not found are compared with all that there are.
const NAME_BYTES_MAX: usize = 1_024;

/// Checks the name of a type in Arrow's words, `List(Struct("a": Int32))`: each of its brackets is a level.
///
/// # Errors
/// If it has more levels than other types may have.
pub(crate) fn check_type_text(text: &str) -> Result<()> {
    let mut levels: usize = 0;
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'<' | b'{' => levels += 1,
            b')' | b']' | b'>' | b'}' => levels = levels.saturating_sub(1),
            _ => {}
        }
        if levels > TYPE_DEPTH_MAX {
            return Err(Error::TooComplex(format!("a type nests more than {TYPE_DEPTH_MAX} levels")));
        }
    }
    Ok(())
}

/// Checks what comes without SQL, as the columns of an upload do, by what SQL may name and declare.
///
/// # Errors
/// If a name is longer than [`NAME_BYTES_MAX`], a type deeper than [`TYPE_DEPTH_MAX`], or a struct without fields.
pub(crate) fn check_fields(fields: &Fields) -> Result<()> {
    // The deepest of them, level by level: they may be deeper than a recursion could go.
    let mut level: Vec<&FieldRef> = fields.iter().collect();
    for _ in 0..=TYPE_DEPTH_MAX {
        for field in &level {
            check_name(field.name())?;
            if matches!(field.data_type(), DataType::Struct(fields) if fields.is_empty()) {
                return Err(Error::Invalid(format!(
                    "column {:?} is a struct without fields, which Iceberg tables and Parquet files cannot hold",
                    field.name()
                )));
            }
        }
        level = level
            .iter()
            .flat_map(|field| match field.data_type() {
                DataType::Struct(fields) => fields.iter().collect(),
                DataType::List(element)
                | DataType::LargeList(element)
                | DataType::ListView(element)
                | DataType::LargeListView(element)
                | DataType::FixedSizeList(element, _)
                | DataType::Map(element, _) => vec![element],
                _ => Vec::new(),
            })
            .collect();
        if level.is_empty() {
            return Ok(());
        }
    }
    Err(Error::TooComplex(format!("the type of a column nests more than {TYPE_DEPTH_MAX} levels")))
}

/// # Errors
/// If the name is longer than [`NAME_BYTES_MAX`].
pub(crate) fn check_name(name: &str) -> Result<()> {
    match name.len() > NAME_BYTES_MAX {
        true => Err(Error::TooComplex(long_name(name))),
        false => Ok(()),
    }
}

fn long_name(name: &str) -> String {
    let start: String = name.chars().take(20).collect();
    format!("the name {start}… has {} bytes, and may have {NAME_BYTES_MAX}", name.len())
}

/// # Errors
/// If a tree that is parsed of the tokens may be deeper than [`DEPTH_MAX`], a type or the value of one deeper than
/// [`TYPE_DEPTH_MAX`], or if a name is longer than [`NAME_BYTES_MAX`].
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut scopes = Scopes::default();
    let mut before: Option<&Token> = None;
    let mut queries: usize = 0;
    for TokenWithSpan { token, span } in tokens {
        if matches!(token, Token::Whitespace(_)) {
            continue;
        }
        if let Token::Word(word) = token
            && word.value.len() > NAME_BYTES_MAX
        {
            return Err(too_much(long_name(&word.value), span.start));
        }
        if matches!(token, Token::Word(word) if word.keyword == Keyword::SELECT && word.quote_style.is_none()) {
            queries += 1;
            if queries > QUERIES_MAX {
                return Err(too_much(format!("the statement has more than {QUERIES_MAX} queries"), span.start));
            }
        }
        scopes.take(token, before);
        let (depth, types) = (scopes.depth(), scopes.top.types.max(scopes.top.subscripts));
        if depth > DEPTH_MAX {
            let message = format!(
                "the statement nests or chains more than {DEPTH_MAX} levels deep; use IN (…) or a join with a table of values \
                 for many conditions, and CREATE TABLE … AS SELECT for queries in queries"
            );
            return Err(too_much(message, span.start));
        }
        if scopes.top.maps > MAPS_MAX {
            return Err(too_much(format!("map() is called more than {MAPS_MAX} times within itself"), span.start));
        }
        if types > TYPE_DEPTH_MAX {
            return Err(too_much(
                format!("types, or the values of them, nest more than {TYPE_DEPTH_MAX} levels"),
                span.start,
            ));
        }
        before = Some(token);
    }
    Ok(())
}

/// How many tokens a text has at most: it is known before memory is taken for them. What stands in quotes is counted as if it did
/// not.
pub(super) fn tokens_at_most(text: &str) -> usize {
    let (mut tokens, mut in_word) = (0, false);
    for byte in text.bytes() {
        let is_word = byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
        tokens += usize::from(!is_word || !in_word);
        in_word = is_word;
    }
    tokens
}

fn too_much(message: String, Location { line, column }: Location) -> Error {
    Error::TooComplex(format!("{message} (line {line}, column {column})"))
}

/// The parser's own limit was met: no token count tells what it took.
pub(super) fn recursion() -> Error {
    let message = "the statement nests too deeply, in brackets or queries: leave brackets out, or write inner queries to a table \
                   (CREATE TABLE … AS SELECT)";
    Error::TooComplex(message.to_owned())
}

/// What a query stands behind in a set operation.
const SET_OPERATIONS: &[&str] = &["union", "intersect", "except", "minus", "all", "distinct"];

/// What is open at a token: the scope that it is in, and those around that.
#[derive(Default)]
struct Scopes {
    around: Vec<Scope>,
    top: Scope,
}

/// The inside of a bracket or of a CASE.
#[derive(Default, Clone, Copy)]
struct Scope {
    opened: Opened,
    /// Steps in the elements that this is in.
    around: usize,
    /// Steps that no comma ends: set operators and pipes.
    kept: usize,
    /// Steps of the element that is being read.
    element: usize,
    /// The depth of the deepest bracket in that element.
    inside: usize,
    /// The depth of the deepest element before it.
    finished: usize,
    /// Types, or values of them, that this is in.
    types: usize,
    /// Calls of `map()` that this is in.
    maps: usize,
    /// How many square brackets follow each other: `[1][1][1]`.
    subscripts: usize,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Opened {
    #[default]
    Bracket,
    /// `struct<`: unlike other brackets, it may as well be a comparison.
    Angle,
    /// CASE: it may as well be an alias.
    Case,
}

impl Scopes {
    fn depth(&self) -> usize {
        self.top.around + self.top.kept + self.top.element + self.top.inside
    }

    fn take(&mut self, token: &Token, before: Option<&Token>) {
        if !matches!(token, Token::LBracket | Token::RBracket) {
            self.top.subscripts = 0;
        }
        match token {
            Token::Comma => self.next_element(),
            Token::LParen => {
                self.open(Opened::Bracket, before.is_some_and(makes_type));
                self.top.maps += usize::from(before.is_some_and(|word| is_one_of(word, &["map", "make_map"])));
            }
            Token::LBracket => {
                let follows = matches!(before, Some(Token::RBracket));
                self.top.subscripts = if follows { self.top.subscripts + 1 } else { 1 };
                self.open(Opened::Bracket, true);
            }
            Token::LBrace => self.open(Opened::Bracket, true),
            Token::Lt if before.is_some_and(makes_type) => self.open(Opened::Angle, true),
            Token::RParen | Token::RBracket | Token::RBrace => {
                while self.top.opened != Opened::Bracket {
                    self.close();
                }
                self.close();
            }
            Token::Gt | Token::ShiftRight if self.top.opened == Opened::Angle => {
                self.close();
                if *token == Token::ShiftRight && self.top.opened == Opened::Angle {
                    self.close();
                }
            }
            Token::Word(word) if word.keyword == Keyword::NoKeyword || word.quote_style.is_some() => {}
            Token::Word(word) => self.take_keyword(word.keyword, before),
            Token::VerticalBarRightAngleBracket => self.top.kept += 1,
            token if is_value(token) => {}
            _ => self.top.element += 1,
        }
    }

    fn take_keyword(&mut self, keyword: Keyword, before: Option<&Token>) {
        match keyword {
            Keyword::CASE => self.open(Opened::Case, false),
            Keyword::END if self.top.opened == Opened::Case => self.close(),
            // Behind an operator they would be names.
            Keyword::WHEN | Keyword::ELSE if self.top.opened == Opened::Case && before.is_some_and(ends_expression) => {
                self.next_element();
            }
            // Behind these, no expression goes on.
            Keyword::SELECT if before.is_some_and(|word| is_one_of(word, SET_OPERATIONS)) => self.next_element(),
            // By themselves they make nothing deeper: what does stands beside them.
            Keyword::SELECT | Keyword::ALL | Keyword::FROM | Keyword::WHERE | Keyword::AS => {}
            Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS => self.top.kept += 1,
            _ => self.top.element += 1,
        }
    }

    fn next_element(&mut self) {
        let Scope { finished, element, inside, .. } = self.top;
        self.top = Scope { finished: finished.max(element + inside), element: 0, inside: 0, ..self.top };
    }

    fn open(&mut self, opened: Opened, is_type: bool) {
        self.top.element += 1;
        let around = self.top.around + self.top.kept + self.top.element;
        let types = self.top.types + usize::from(is_type);
        let inside = Scope { opened, around, types, maps: self.top.maps, ..Scope::default() };
        self.around.push(std::mem::replace(&mut self.top, inside));
    }

    /// Closes the scope. Where none is open the text is wrong, which the parser will say.
    fn close(&mut self) {
        let Some(mut scope) = self.around.pop() else {
            self.top.opened = Opened::Bracket;
            return;
        };
        let Scope { opened, kept, element, inside, finished, .. } = self.top;
        match opened {
            Opened::Bracket => scope.inside = scope.inside.max(kept + finished.max(element + inside)),
            // If it was none, all that it seemed to hold was part of the element around it.
            Opened::Angle | Opened::Case => {
                scope.kept += kept;
                scope.element += element;
                scope.inside = scope.inside.max(inside).max(finished);
            }
        }
        self.top = scope;
    }
}

/// Whether a bracket behind it holds types, or values that a type is made of.
fn makes_type(token: &Token) -> bool {
    const WORDS: &[&str] =
        &["array", "list", "map", "struct", "row", "tuple", "nested", "make_array", "make_list", "named_struct"];
    is_one_of(token, WORDS)
}

fn is_one_of(token: &Token, words: &[&str]) -> bool {
    match token {
        Token::Word(word) => words.iter().any(|known| word.value.eq_ignore_ascii_case(known)),
        _ => false,
    }
}

/// Whether an expression may end with it, and none begins with it, whatever follows.
fn ends_expression(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            word.quote_style.is_some()
                || matches!(
                    word.keyword,
                    Keyword::NoKeyword | Keyword::CASE | Keyword::END | Keyword::NULL | Keyword::TRUE | Keyword::FALSE
                )
        }
        Token::RParen | Token::RBracket | Token::RBrace => true,
        token => is_value(token),
    }
}

/// Values, and what ends a statement: no tree is deeper for one.
fn is_value(token: &Token) -> bool {
    matches!(
        token,
        Token::EOF
            | Token::SemiColon
            | Token::Number(..)
            | Token::Char(_)
            | Token::Placeholder(_)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
    )
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use crate::{Error, statement};

    fn refused(sql: &str) -> bool {
        matches!(statement::parse(sql), Err(Error::TooComplex(_)))
    }

    #[test]
    fn what_nests_or_chains_too_far_is_refused_before_it_is_a_tree() {
        let n = 20_000;
        let chain = |operator: &str| format!("SELECT {}", vec!["1"; n].join(operator));
        let tail = |tail: &str| format!("SELECT a{} FROM t", tail.repeat(n));
        let around = |open: &str, close: &str| format!("SELECT {}1{}", open.repeat(n), close.repeat(n));
        let column = |open: &str, close: &str| format!("CREATE TABLE t (a {}int{})", open.repeat(n), close.repeat(n));
        for operator in [" | ", " & ", " = ", " < ", " << ", " XOR ", " OR ", " + ", " || ", " -> ", " ^ ", " <> "] {
            assert!(refused(&chain(operator)), "{operator}");
        }
        for operator in
            [" IS NULL", "::int", " LIKE 'a'", " AT TIME ZONE 'UTC'", " COLLATE \"C\"", " IN (1)", "[1]", ".b"]
        {
            assert!(refused(&tail(operator)), "{operator}");
        }
        for operator in [" BETWEEN 0 AND 2", " ~ 'a'", " NOT IN (1)", " IS DISTINCT FROM 1", " :b", " SIMILAR TO 'a'"] {
            assert!(refused(&tail(operator)), "{operator}");
        }
        for (open, close) in [("(", ")"), ("[", "]"), ("{", "}"), ("abs(", ")"), ("~ ", ""), ("- ", ""), ("NOT ", "")] {
            assert!(refused(&around(open, close)), "{open}");
        }
        for (open, close) in
            [("CASE WHEN ", " THEN 1 END"), ("(SELECT ", ")"), ("EXISTS (SELECT ", ")"), ("INTERVAL ", "")]
        {
            assert!(refused(&around(open, close)), "{open}");
        }
        for (open, close) in [("array(", ")"), ("struct<a ", ">"), ("map<int, ", ">"), ("row(a ", ")"), ("", "[]")] {
            assert!(refused(&column(open, close)), "{open}{close}");
            let cast = format!("SELECT CAST(NULL AS {}int{})", open.repeat(n), close.repeat(n));
            assert!(refused(&cast), "{open}{close}");
        }
        assert!(refused(&format!("SELECT {}1{}", "map(['a'], [".repeat(9), "])".repeat(9))));
        assert!(refused(&format!("{}SELECT 1", "EXPLAIN ".repeat(n))));
        assert!(refused(&format!("SELECT 1, 2{}", " UNION ALL SELECT 1, 2".repeat(n))));
        assert!(refused(&format!("FROM t {}", "|> SELECT a, b ".repeat(n))));
        assert!(refused(&format!("SELECT * FROM {}t{}", "(".repeat(n), ")".repeat(n))));
        assert!(refused(&format!("SET polynya{} = 1", ".a".repeat(n))));
        assert!(refused(&format!("GRANT SELECT ON lake{} TO ROLE x", ".a".repeat(n))));
        assert!(refused(&format!("CALL {}{}", "a(".repeat(n), ")".repeat(n))));
        assert!(refused(&format!("SELECT {}", "x".repeat(5_000))));
        let ctes: String = (1..n).map(|cte| format!(", c{cte} AS (SELECT x FROM c{})", cte - 1)).collect();
        assert!(refused(&format!("WITH c0 AS (SELECT 1 AS x){ctes} SELECT * FROM c0")));
    }

    #[test]
    fn no_list_resets_what_a_chain_counts() {
        // A word that looks as if it ended something is an operand here.
        for word in ["when", "else", "end", "union"] {
            assert!(statement::parse(&format!("SELECT 1{}", format!(" | {word}").repeat(3_000))).is_err(), "{word}");
        }
        for (many, few) in [("1 | ", 1_500), ("1 = ", 1_500)] {
            let chain = many.repeat(few);
            for cycle in ["{}map < ", "{}case => ", "{}x.case | {}end | ", "({} "] {
                let sql = format!("SELECT {}1", cycle.replace("{}", &chain).repeat(10));
                assert!(refused(&sql), "{cycle}");
            }
            // What follows a bracket moves it down.
            let sql = format!("SELECT {}1{}", "(".repeat(100), format!(") | {chain} 1").repeat(100));
            assert!(refused(&sql));
            assert!(refused(&format!("SELECT 1 AS case, {}1", "1 | when | ".repeat(3_000))));
        }
        assert!(refused(&format!("SELECT map{}", " < 1 > map".repeat(1_500))));
        assert!(refused(&format!("SELECT {}1", "f(1, 2, ".repeat(3_000))));
    }

    #[test]
    fn long_lists_and_moderate_depth_are_fine() {
        let values = |n: usize| (0..n).map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
        let mut case = "SELECT CASE".to_owned();
        for value in 0..2_000 {
            write!(case, " WHEN x >= {value} AND x < {value} + 1 THEN {value} * 2").expect("a string takes it");
        }
        let or = (0..1_000).map(|value| format!("a = {value}")).collect::<Vec<_>>().join(" OR ");
        let sums = (0..3_000).map(|value| format!("sum(a + {value}) AS c{value}")).collect::<Vec<_>>().join(", ");
        for sql in [
            format!("SELECT a FROM t WHERE a IN ({})", values(50_000)),
            format!("{case} ELSE 0 END FROM t"),
            format!("SELECT a FROM t WHERE {or}"),
            format!("SELECT {sums} FROM t"),
            format!("SELECT {}1{}", "(".repeat(200), ")".repeat(200)),
            format!("SELECT * FROM {}(SELECT 1){}", "(SELECT * FROM ".repeat(100), ")".repeat(100)),
            format!("SELECT {}1{}", "abs(".repeat(200), ")".repeat(200)),
            format!("VALUES {}", vec!["(1, 'a')"; 100_000].join(", ")),
            format!("SELECT 1, 2{}", " UNION ALL SELECT 1, 2".repeat(900)),
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(900)),
            format!("SELECT a FROM c.s.t{}", " UNION SELECT a FROM c.s.t WHERE a = 1".repeat(900)),
            format!("SELECT {}1", "/* a */ -- b\n ".repeat(3_000)),
            "SELECT CAST(NULL AS int[][]), a < b, c < d, [[1]], map < 1, array < 2 FROM t".to_owned(),
        ] {
            let parsed = statement::parse(&sql);
            assert!(parsed.is_ok(), "{}: {:?}", &sql[..60.min(sql.len())], parsed.map(|_| ()));
        }
    }
}
