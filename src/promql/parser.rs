//! Tokens to tree: a precedence-climbing parser for the grammar of Prometheus 3.14 (`promql/parser/generated_parser.y`),
//! with every experimental part switched on.
//!
//! It promises an answer in time and memory that grow with the text alone: a text longer than
//! [`limits::PROMQL_BYTES`] and a tree higher than [`limits::PROMQL_DEPTH`] are refused, so whoever walks or drops a
//! tree may recurse. Selectors are in `parser_selectors.rs`, durations in `parser_durations.rs`; types are checked
//! afterwards, in `check.rs`.
//!
//! The functions that call each other pass boxes and build nodes in functions of their own: that keeps the stack
//! frames of deep nesting small.

use super::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Cardinality, Expr, Kind, Modifiers, Span, ValueType,
    VectorMatching, WindowMode,
};
use super::error::ParseError;
use super::lexer::{Lexeme, Token, lex, number_value, unquote, unquote_any};
use super::{check, error_help, functions};
use crate::limits;
use crate::model::{Labels, MatchOp, Matcher};
use crate::time::{millis, parse_duration};

/// Reads a PromQL expression and checks its types.
///
/// # Errors
/// When the text is not PromQL: the first error, with its place.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let mut expr = read(text)?;
    check::check(&mut expr, text)?;
    Ok(expr)
}

/// Reads a selector alone, as the `match[]` of Prometheus' API has it: the conditions, the metric name as one of them.
///
/// # Errors
/// When the text is no selector, has a range or modifiers, or every condition is satisfied by a series without labels.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let mut expr = read(text)?;
    check::check(&mut expr, text)?;
    match expr.kind {
        Kind::Selector(selector)
            if selector.modifiers == Modifiers::default() && selector.mode == WindowMode::Plain =>
        {
            Ok(selector.matchers.to_vec())
        }
        _ => Err(ParseError::new(expr.span, "expected a selector alone").with_help("write metric{label=\"value\"}")),
    }
}

/// Reads the name of a series, as rule tests have it: `metric{label="value"}`, and `{}` for the one without labels.
///
/// # Errors
/// When the text is no selector, or has a condition other than `=`.
pub fn parse_metric(text: &str) -> Result<Labels, ParseError> {
    let expr = read(text)?;
    let refuse = |message: &str| Err(ParseError::new(expr.span, message).with_help("write metric{label=\"value\"}"));
    let Kind::Selector(selector) = &expr.kind else { return refuse("expected the name of a series") };
    if selector.modifiers != Modifiers::default() || selector.mode != WindowMode::Plain {
        return refuse("expected the name of a series alone");
    }
    if selector.matchers.iter().any(|matcher| matcher.op != MatchOp::Equal) {
        return refuse("the name of a series has only = between label and value");
    }
    Ok(Labels::from_pairs(selector.matchers.iter().map(|matcher| (&matcher.name, &matcher.value))))
}

/// The tree of a text, before any check of types.
fn read(text: &str) -> Result<Expr, ParseError> {
    if text.len() > limits::PROMQL_BYTES {
        let message = format!("the expression has {} bytes, at most {} are allowed", text.len(), limits::PROMQL_BYTES);
        return Err(ParseError::new(Span::default(), message)
            .with_help("record parts of it under names of their own, and use those"));
    }
    let (lexemes, lex_error) = lex(text);
    let mut parser = Parser { text, lexemes, at: 0, depth: 0, regexes: 0, lex_error };
    if parser.token() == Token::End {
        return Err(ParseError::new(Span::default(), "no expression found in input"));
    }
    let expr = parser.expr(0)?.expr;
    if parser.token() != Token::End {
        return Err(parser.trailing());
    }
    Ok(expr)
}

/// An expression and the height of its tree.
pub(super) struct Tall {
    pub(super) expr: Expr,
    pub(super) height: usize,
}

pub(super) type Parsed<T> = Result<T, Box<ParseError>>;

impl From<Box<ParseError>> for ParseError {
    fn from(boxed: Box<ParseError>) -> ParseError {
        *boxed
    }
}

pub(super) struct Parser<'t> {
    pub(super) text: &'t str,
    lexemes: Vec<Lexeme>,
    at: usize,
    depth: usize,
    /// Regular expressions compiled so far.
    pub(super) regexes: usize,
    lex_error: Option<ParseError>,
}

/// How tightly operators bind, loosest first.
const OR: u8 = 1;
const AND: u8 = 2;
const COMPARE: u8 = 3;
const ADD: u8 = 4;
const MUL: u8 = 5;
const POW: u8 = 6;

impl BinaryOp {
    pub(super) fn power(self) -> u8 {
        match self {
            BinaryOp::Or => OR,
            BinaryOp::And | BinaryOp::Unless => AND,
            BinaryOp::Add | BinaryOp::Sub => ADD,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => MUL,
            BinaryOp::Pow => POW,
            _ => COMPARE,
        }
    }
}

// Tokens.
impl<'t> Parser<'t> {
    pub(super) fn lexeme(&self, ahead: usize) -> Lexeme {
        self.lexemes[(self.at + ahead).min(self.lexemes.len() - 1)]
    }

    pub(super) fn token(&self) -> Token {
        self.lexeme(0).token
    }

    pub(super) fn span(&self) -> Span {
        self.lexeme(0).span
    }

    pub(super) fn slice(&self, span: Span) -> &'t str {
        &self.text[span.start as usize..span.end as usize]
    }

    pub(super) fn word(&self) -> &'t str {
        if self.token() == Token::Word { self.slice(self.span()) } else { "" }
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.word().eq_ignore_ascii_case(word)
    }

    /// Takes the token and gives its place.
    pub(super) fn advance(&mut self) -> Span {
        let span = self.span();
        self.at = (self.at + 1).min(self.lexemes.len() - 1);
        span
    }

    pub(super) fn take(&mut self, token: Token) -> Option<Span> {
        (self.token() == token).then(|| self.advance())
    }

    pub(super) fn expect(&mut self, token: Token, context: &str, expected: &str) -> Parsed<Span> {
        self.take(token).ok_or_else(|| self.unexpected(context, expected))
    }

    /// The closing parenthesis for the one at `open`.
    pub(super) fn close(&mut self, open: Span, context: &str, expected: &str) -> Parsed<Span> {
        match self.token() {
            Token::RightParen => Ok(self.advance()),
            Token::End => {
                Err(Box::new(ParseError::new(open, "unclosed left parenthesis").with_help("add the missing )")))
            }
            _ => Err(self.unexpected(context, expected)),
        }
    }

    pub(super) fn unexpected(&self, context: &str, expected: &str) -> Box<ParseError> {
        if let (Token::Broken, Some(error)) = (self.token(), &self.lex_error) {
            return Box::new(error.clone());
        }
        let mut message = format!("unexpected {}", self.described());
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        Box::new(ParseError::new(self.span(), message))
    }

    fn described(&self) -> String {
        let text = self.slice(self.span());
        match self.token() {
            Token::End => "end of input".to_owned(),
            Token::Word if error_help::is_keyword(text) => format!("keyword {text:?}"),
            Token::Word => format!("identifier {text:?}"),
            Token::Number => format!("number {text:?}"),
            Token::Duration => format!("duration {text:?}"),
            Token::Text => format!("string {text}"),
            Token::Op(_) => format!("operator {text:?}"),
            Token::RightParen => "right parenthesis \")\"".to_owned(),
            Token::RightBrace => "right brace \"}\"".to_owned(),
            Token::RightBracket => "right bracket \"]\"".to_owned(),
            _ => format!("{text:?}"),
        }
    }

    /// The error for what follows a complete expression.
    fn trailing(&self) -> ParseError {
        let error = *self.unexpected("", "an operator or the end of the expression");
        match self.token() {
            Token::Assign => error.with_help("to compare, write =="),
            Token::Matches | Token::NotMatches => error.with_help("patterns belong into braces: {label=~\"pattern\"}"),
            Token::RightParen => error.with_help("there is no parenthesis open here"),
            Token::Comma => error.with_help("a comma stands only between arguments, labels and matchers"),
            Token::LeftBrace => error.with_help("matchers belong directly behind a metric name"),
            Token::Word => match error_help::operator_like(self.word()) {
                Some(help) => error.with_help(help),
                None => error,
            },
            _ => error,
        }
    }
}

// Expressions.
impl Parser<'_> {
    /// An expression whose operators all bind at least as tightly as `least`.
    pub(super) fn expr(&mut self, least: u8) -> Parsed<Box<Tall>> {
        self.depth += 1;
        if self.depth > limits::PROMQL_DEPTH {
            return Err(too_deep(self.span()));
        }
        let mut left = self.operand()?;
        while let Some(op) = self.operator()
            && op.power() >= least
        {
            left = self.binary(left, op)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operator(&self) -> Option<BinaryOp> {
        match self.token() {
            Token::Op(op) => Some(op),
            Token::Word => [BinaryOp::And, BinaryOp::Or, BinaryOp::Unless, BinaryOp::Atan2]
                .into_iter()
                .find(|op| self.is_word(op.as_str())),
            _ => None,
        }
    }

    fn operand(&mut self) -> Parsed<Box<Tall>> {
        if let Token::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.token() {
            return self.signed(op);
        }
        let mut tall = self.primary()?;
        while self.suffix(&mut tall)? {}
        Ok(tall)
    }

    /// A sign binds like a multiplication: `-a ^ b` is `-(a ^ b)`.
    fn signed(&mut self, op: BinaryOp) -> Parsed<Box<Tall>> {
        let sign = self.advance();
        let inner = self.expr(POW)?;
        apply_sign(sign, op, inner)
    }

    fn binary(&mut self, left: Box<Tall>, op: BinaryOp) -> Parsed<Box<Tall>> {
        self.advance();
        let (return_bool, matching) = self.binary_modifiers(op)?;
        let right = self.expr(if op == BinaryOp::Pow { POW } else { op.power() + 1 })?;
        join(op, left, right, return_bool, matching)
    }

    fn primary(&mut self) -> Parsed<Box<Tall>> {
        match self.token() {
            Token::LeftParen => self.paren(),
            Token::Number | Token::Duration => {
                let (value, span) = self.number()?;
                Ok(leaf(Kind::Number(value), span))
            }
            Token::Text => {
                let span = self.advance();
                let value =
                    unquote_any(self.slice(span)).map_err(|message| Box::new(ParseError::new(span, message)))?;
                Ok(leaf(Kind::Text(value), span))
            }
            Token::LeftBrace => self.selector(),
            Token::Word => self.named(),
            Token::LeftBracket => Err(self.with_help("", "", "a range stands behind a selector: metric[5m]")),
            _ => Err(self.unexpected("", "an expression")),
        }
    }

    fn with_help(&self, context: &str, expected: &str, help: &str) -> Box<ParseError> {
        Box::new((*self.unexpected(context, expected)).with_help(help))
    }

    fn paren(&mut self) -> Parsed<Box<Tall>> {
        let open = self.advance();
        let inner = self.expr(0)?;
        let close = self.close(open, "", "an operator or \")\"")?;
        wrap(Kind::Paren, inner, join_spans(open, close))
    }

    /// What begins with a word: an aggregation, a call or a selector.
    fn named(&mut self) -> Parsed<Box<Tall>> {
        let word = self.word();
        let next = self.lexeme(1);
        let next_word = if next.token == Token::Word { self.slice(next.span) } else { "" };
        let grouping = next_word.eq_ignore_ascii_case("by") || next_word.eq_ignore_ascii_case("without");
        if let Some(op) = functions::aggregator(word)
            && (next.token == Token::LeftParen || grouping)
        {
            return self.aggregate(op);
        }
        if next.token == Token::LeftParen {
            return self.call();
        }
        if error_help::is_reserved(word) {
            return Err(self.unexpected("", "an expression"));
        }
        self.selector()
    }

    fn call(&mut self) -> Parsed<Box<Tall>> {
        let name = self.word();
        let lower = name.to_ascii_lowercase();
        let known = match lower.as_str() {
            "start" | "end" | "step" | "range" | "min_of" | "max_of" => functions::function(&lower),
            _ => functions::function(name),
        };
        let name_span = self.span();
        let Some(function) = known else {
            return Err(Box::new(error_help::unknown_function(name, name_span)));
        };
        self.advance();
        let (args, height, close) = self.arguments()?;
        let kind = Kind::Call(Box::new(Call { function, name_span, args: args.into() }));
        tall(kind, join_spans(name_span, close), height + CALL_LEVELS)
    }

    /// `(a, b, ...)`: the arguments, the height of the highest, and the place of the closing parenthesis.
    fn arguments(&mut self) -> Parsed<(Vec<Expr>, usize, Span)> {
        let open = self.advance();
        let (mut args, mut height) = (Vec::new(), 0);
        if let Some(close) = self.take(Token::RightParen) {
            return Ok((args, height, close));
        }
        loop {
            let arg = self.expr(0)?;
            height = height.max(arg.height);
            args.push(arg.expr);
            let Some(comma) = self.take(Token::Comma) else { break };
            if self.token() == Token::RightParen {
                let error = ParseError::new(comma, "trailing commas not allowed in function call args");
                return Err(Box::new(error.with_help("remove the last comma")));
            }
        }
        let close = self.close(open, "function call", "\",\", an operator or \")\"")?;
        args.shrink_to_fit();
        Ok((args, height, close))
    }

    fn aggregate(&mut self, op: AggregateOp) -> Parsed<Box<Tall>> {
        let name = self.advance();
        let mut grouping = self.grouping()?;
        if self.token() != Token::LeftParen {
            return Err(self.unexpected("aggregation", "\"(\""));
        }
        let (args, height, close) = self.arguments()?;
        let mut span = join_spans(name, close);
        if grouping.is_none() {
            grouping = self.grouping()?;
        } else if self.is_word("by") || self.is_word("without") {
            return Err(self.with_help("aggregation", "", "the labels are already given before the parenthesis"));
        }
        if let Some((_, _, end)) = &grouping {
            span.end = span.end.max(end.end);
        }
        build_aggregate(op, span, args, height, grouping)
    }

    /// `by (...)` or `without (...)`: the labels, whether it is `without`, and the place of its end.
    fn grouping(&mut self) -> Parsed<Option<(Vec<String>, bool, Span)>> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.advance();
        let (labels, end) = self.label_list()?;
        Ok(Some((labels, without, end)))
    }

    /// `(label, "other label", ...)`
    fn label_list(&mut self) -> Parsed<(Vec<String>, Span)> {
        let open = self.expect(Token::LeftParen, "grouping opts", "\"(\"")?;
        let mut labels = Vec::new();
        while self.token() != Token::RightParen {
            match self.token() {
                Token::Word => {
                    let span = self.advance();
                    labels.push(self.slice(span).to_owned());
                }
                Token::Text => {
                    let (label, span) = self.quoted()?;
                    if label.is_empty() {
                        return Err(Box::new(ParseError::new(span, "invalid label name for grouping: \"\"")));
                    }
                    labels.push(label);
                }
                Token::End => break,
                _ => return Err(self.unexpected("grouping opts", "label")),
            }
            if self.take(Token::Comma).is_none() {
                break;
            }
        }
        let end = self.close(open, "grouping opts", "\",\" or \")\"")?;
        Ok((labels, end))
    }

    /// What may stand behind a binary operator: `bool`, `on`/`ignoring`, `group_left`/`group_right`, `fill`.
    fn binary_modifiers(&mut self, op: BinaryOp) -> Parsed<(bool, Box<VectorMatching>)> {
        let return_bool = self.is_word("bool");
        if return_bool {
            self.advance();
        }
        let cardinality = if op.is_set() { Cardinality::ManyToMany } else { Cardinality::OneToOne };
        let mut matching = Box::new(VectorMatching {
            cardinality,
            labels: Vec::new(),
            on: self.is_word("on"),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        });
        let matched = matching.on || self.is_word("ignoring");
        if matched {
            self.advance();
            matching.labels = self.label_list()?.0;
        }
        self.group_modifier(matched, &mut matching)?;
        self.fill_modifiers(&mut matching)?;
        Ok((return_bool, matching))
    }

    fn group_modifier(&mut self, matched: bool, matching: &mut VectorMatching) -> Parsed<()> {
        let left = self.is_word("group_left");
        if !left && !self.is_word("group_right") {
            return Ok(());
        }
        if !matched {
            return Err(self.with_help("", "", "write on(...) or ignoring(...) before it"));
        }
        self.advance();
        matching.cardinality = if left { Cardinality::ManyToOne } else { Cardinality::OneToMany };
        if self.token() == Token::LeftParen {
            matching.include = self.label_list()?.0;
        }
        Ok(())
    }

    fn fill_modifiers(&mut self, matching: &mut VectorMatching) -> Parsed<()> {
        while self.lexeme(1).token == Token::LeftParen {
            let (left, right) = match self.word().to_ascii_lowercase().as_str() {
                "fill" => (true, true),
                "fill_left" => (true, false),
                "fill_right" => (false, true),
                _ => return Ok(()),
            };
            if (left && matching.fill_left.is_some()) || (right && matching.fill_right.is_some()) {
                return Err(self.with_help("", "", "each side can be filled with one value"));
            }
            self.advance();
            let open = self.advance();
            let (value, _) = self.signed_number("fill modifier", "number")?;
            self.close(open, "fill modifier", "\")\"")?;
            matching.fill_left = if left { Some(value) } else { matching.fill_left };
            matching.fill_right = if right { Some(value) } else { matching.fill_right };
        }
        Ok(())
    }

    /// A number or duration with an optional sign.
    pub(super) fn signed_number(&mut self, context: &str, expected: &str) -> Parsed<(f64, Span)> {
        let start = self.span();
        let sign = match self.token() {
            Token::Op(BinaryOp::Sub) => -1.0,
            Token::Op(BinaryOp::Add) => 1.0,
            _ => 0.0,
        };
        if sign != 0.0 {
            self.advance();
        }
        if !matches!(self.token(), Token::Number | Token::Duration) {
            return Err(self.unexpected(context, expected));
        }
        let (value, span) = self.number()?;
        Ok((if sign < 0.0 { -value } else { value }, join_spans(start, span)))
    }

    /// A number, or a duration as its seconds.
    pub(super) fn number(&mut self) -> Parsed<(f64, Span)> {
        let duration = self.token() == Token::Duration;
        let span = self.advance();
        let word = self.slice(span);
        let value = if duration {
            parse_duration(word).map(|span| millis(span) as f64 / 1000.0).map_err(|error| error.to_string())
        } else {
            number_value(word)
        };
        Ok((value.map_err(|message| Box::new(ParseError::new(span, message)))?, span))
    }

    /// A quoted text without its quotes.
    pub(super) fn quoted(&mut self) -> Parsed<(String, Span)> {
        let span = self.advance();
        let value = unquote(self.slice(span)).map_err(|message| Box::new(ParseError::new(span, message)))?;
        Ok((value, span))
    }
}

pub(super) fn join_spans(first: Span, last: Span) -> Span {
    Span { start: first.start, end: last.end }
}

fn too_deep(span: Span) -> Box<ParseError> {
    let message = format!("the expression is nested deeper than {} levels", limits::PROMQL_DEPTH);
    let help = "record parts of it under names of their own, or match several names with one pattern";
    Box::new(ParseError::new(span, message).with_help(help))
}

pub(super) fn leaf(kind: Kind, span: Span) -> Box<Tall> {
    Box::new(Tall { expr: Expr { kind, span }, height: 1 })
}

/// What a call, an aggregation and a subquery count beside their own level: evaluating them takes more stack.
pub(super) const CALL_LEVELS: usize = 1;
pub(super) const SUBQUERY_LEVELS: usize = 15;

/// A node above nodes of the given height.
pub(super) fn tall(kind: Kind, span: Span, below: usize) -> Parsed<Box<Tall>> {
    if below >= limits::PROMQL_DEPTH {
        return Err(too_deep(span));
    }
    Ok(Box::new(Tall { expr: Expr { kind, span }, height: below + 1 }))
}

#[expect(clippy::boxed_local, reason = "boxes keep the frames of the callers, which recurse, small")]
fn wrap(kind: fn(Box<Expr>) -> Kind, inner: Box<Tall>, span: Span) -> Parsed<Box<Tall>> {
    let height = inner.height;
    tall(kind(Box::new(inner.expr)), span, height)
}

fn apply_sign(sign: Span, op: BinaryOp, mut inner: Box<Tall>) -> Parsed<Box<Tall>> {
    let span = join_spans(sign, inner.expr.span);
    if let Kind::Number(value) = &mut inner.expr.kind {
        *value = if op == BinaryOp::Sub { -*value } else { *value };
        inner.expr.span = span;
        return Ok(inner);
    }
    if op == BinaryOp::Sub {
        return wrap(Kind::Negate, inner, span);
    }
    check::check_signed(inner.expr.value_type(), span)?;
    inner.expr.span = span;
    Ok(inner)
}

#[expect(clippy::boxed_local, reason = "boxes keep the frames of the callers, which recurse, small")]
fn join(
    op: BinaryOp,
    left: Box<Tall>,
    right: Box<Tall>,
    return_bool: bool,
    matching: Box<VectorMatching>,
) -> Parsed<Box<Tall>> {
    let below = left.height.max(right.height);
    let span = join_spans(left.expr.span, right.expr.span);
    let binary = Binary { op, left: left.expr, right: right.expr, return_bool, matching: Some(matching) };
    tall(Kind::Binary(Box::new(binary)), span, below)
}

fn build_aggregate(
    op: AggregateOp,
    span: Span,
    mut args: Vec<Expr>,
    height: usize,
    grouping: Option<(Vec<String>, bool, Span)>,
) -> Parsed<Box<Tall>> {
    let wanted = if op.param_type().is_some() { 2 } else { 1 };
    if args.len() != wanted {
        let message = match args.len() {
            0 => "no arguments for aggregate expression provided".to_owned(),
            got => format!("wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}"),
        };
        let usage = match op.param_type() {
            Some(ValueType::String) => format!("write {op}(\"label\", vector)", op = op.as_str()),
            Some(_) => format!("write {op}(number, vector)", op = op.as_str()),
            None => format!("write {op}(vector)", op = op.as_str()),
        };
        return Err(Box::new(ParseError::new(span, message).with_help(usage)));
    }
    let (grouping, without) = grouping.map_or((Vec::new(), false), |(labels, without, _)| (labels, without));
    let expr = args.remove(wanted - 1);
    let aggregate = Aggregate { op, expr, param: args.pop(), grouping, without };
    tall(Kind::Aggregate(Box::new(aggregate)), span, height + CALL_LEVELS)
}
