//! The SQL that texts are parsed as: sqlparser's generic dialect, with a bound on the work of one text.
//!
//! The parser tries some words first as the beginning of a form of their own (`CASE …`, `INTERVAL …`) and, where what follows does not
//! fit, once more as a name. In `case - case - case - …`, each attempt holds two of the next, so that 40 words would take it years.
//! So CASE is reserved, as it is in other databases: a column of that name is written in quotes; and the expressions that the parser
//! begins are counted, and are no more than a multiple of the tokens.

use std::any::TypeId;
use std::cell::Cell;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::budget;

/// Expressions that the parser may begin, at least, and for each token. It begins each once, and a few more often to find out what
/// they are.
const EXPRESSIONS_MIN: usize = 20_000;
const EXPRESSIONS_PER_TOKEN: usize = 20;

/// How often it is asked whether anybody still waits.
const EXPRESSIONS_BETWEEN_CHECKS: usize = 1_024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Grammar {
    expressions_left: Cell<usize>,
}

impl Default for Grammar {
    fn default() -> Self {
        Self { expressions_left: Cell::new(EXPRESSIONS_MIN) }
    }
}

impl Grammar {
    /// The same for a text of so many tokens, which have been made with it.
    pub(super) fn allow(&self, tokens: usize) {
        self.expressions_left.set(EXPRESSIONS_MIN + EXPRESSIONS_PER_TOKEN * tokens);
    }
}

/// Answers as [`GenericDialect`] does.
macro_rules! as_generic {
    ($($name:ident),* $(,)?) => {
        $(fn $name(&self) -> bool {
            GenericDialect.$name()
        })*
    };
}

impl Dialect for Grammar {
    /// What the parser allows only the generic dialect, it allows this.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    /// `^` is a power, and binds closer than `*`, as in PostgreSQL.
    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        match parser.peek_token_ref().token {
            Token::Caret => Some(Ok(self.prec_value(Precedence::AtTz))),
            _ => None,
        }
    }

    /// No error but this one ends the attempts at once.
    fn parse_prefix(&self, _parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let left = self.expressions_left.get();
        if left == 0 || (left.is_multiple_of(EXPRESSIONS_BETWEEN_CHECKS) && budget::check().is_err()) {
            self.expressions_left.set(0);
            return Some(Err(ParserError::RecursionLimitExceeded));
        }
        self.expressions_left.set(left - 1);
        None
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        keyword == Keyword::CASE || GenericDialect.is_reserved_for_identifier(keyword)
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        GenericDialect.is_delimited_identifier_start(character)
    }

    fn is_identifier_start(&self, character: char) -> bool {
        GenericDialect.is_identifier_start(character)
    }

    fn is_identifier_part(&self, character: char) -> bool {
        GenericDialect.is_identifier_part(character)
    }

    as_generic! {
        supports_unicode_string_literal, supports_partition_by_after_order_by, supports_array_join_syntax,
        supports_group_by_expr, supports_group_by_with_modifier, supports_left_associative_joins_without_parens,
        supports_connect_by, supports_match_recognize, supports_pipe_operator, supports_start_transaction_modifier,
        supports_window_function_null_treatment_arg, supports_dictionary_syntax,
        supports_window_clause_named_window_reference, supports_parenthesized_set_variables,
        supports_select_wildcard_except, support_map_literal_syntax, allow_extract_custom,
        allow_extract_single_quotes, supports_extract_comma_syntax, supports_create_view_comment_syntax,
        supports_parens_around_table_factor, supports_values_as_table_factor, supports_create_index_with_clause,
        supports_explain_with_utility_options, supports_limit_comma, supports_update_order_by,
        supports_from_first_select, supports_projection_trailing_commas, supports_asc_desc_in_column_definition,
        supports_try_convert, supports_bitwise_shift_operators, supports_comment_on, supports_load_extension,
        supports_named_fn_args_with_assignment_operator, supports_struct_literal, supports_empty_projections,
        supports_nested_comments, supports_multiline_comment_hints, supports_user_host_grantee,
        supports_string_escape_constant, supports_array_typedef_with_brackets, supports_match_against,
        supports_set_names, supports_comma_separated_set_assignments, supports_filter_during_aggregation,
        supports_select_wildcard_exclude, supports_data_type_signed_suffix, supports_interval_options,
        supports_quote_delimited_string, supports_select_wildcard_replace, supports_select_wildcard_ilike,
        supports_select_wildcard_rename, supports_optimize_table, supports_install, supports_detach,
        supports_prewhere, supports_with_fill, supports_limit_by, supports_interpolate, supports_settings,
        supports_select_format, supports_comment_optimizer_hint, supports_constraint_keyword_without_name,
        supports_key_column_option, supports_comma_separated_trim, supports_cte_without_as,
        supports_select_item_multi_column_alias, supports_xml_expressions,
    }
}

#[cfg(test)]
mod tests {
    use crate::{Error, statement};

    #[test]
    fn words_that_may_be_names_do_not_double_the_work() {
        for word in ["case", "interval", "not", "cast", "map", "struct", "position", "extract", "trim", "floor"] {
            for end in ["", " (", " case", " end", " when 1"] {
                let sql = format!("SELECT {}1{end}", format!("{word} - ").repeat(60));
                let _ = statement::parse(&sql);
                let sql = format!("SELECT {}1{end}", format!("{word} (1) - ").repeat(60));
                let _ = statement::parse(&sql);
            }
        }
        let sql = format!("SELECT {}1", "interval - ".repeat(60));
        assert!(matches!(statement::parse(&format!("{sql} (")), Err(Error::TooComplex(_) | Error::Syntax { .. })));
    }

    #[test]
    fn case_is_a_name_in_quotes_only() {
        assert!(statement::parse("SELECT \"case\", t.case FROM t").is_ok());
        assert!(statement::parse("SELECT case FROM t").is_err());
        assert!(statement::parse("SELECT position, map, date, floor FROM t").is_ok());
    }
}
