//! Selectors and what stands behind them: matchers, ranges, subqueries, `offset`, `@`, `anchored`, `smoothed`.

use super::ast::{
    AtModifier, DurationExpr, DurationKind, Expr, Kind, Modifiers, RangeSelector, Selector, Span, Subquery,
};
use super::ast::{BinaryOp, WindowMode};
use super::error::ParseError;
use super::lexer::Token;
use super::parser::{Parsed, Parser, SUBQUERY_LEVELS, Tall, join_spans, leaf, tall};
use crate::limits;
use crate::model::{MatchOp, Matcher, NAME};
use crate::time::Timestamp;

/// What is put in the place of a node while it is rebuilt.
fn nothing() -> Kind {
    Kind::Number(0.0)
}

impl Parser<'_> {
    /// `name`, `name{...}` or `{...}`.
    pub(super) fn selector(&mut self) -> Parsed<Box<Tall>> {
        let mut span = self.span();
        let mut name = (self.token() == Token::Word).then(|| {
            let word = self.advance();
            self.slice(word).to_owned()
        });
        let mut matchers = Vec::new();
        if self.token() == Token::LeftBrace {
            span.end = self.matchers(&mut name, &mut matchers)?.end;
        }
        // One order for one meaning, as Prometheus prints it. Among the matchers of one label the order stays:
        // `absent()` makes its labels of the first that fixes one, and of what follows it.
        matchers.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(name) = &name {
            matchers.insert(0, Matcher::equal(NAME, name));
        }
        let matchers = matchers.into();
        let modifiers = Modifiers::default();
        let selector = Selector { matchers, named: name.is_some(), modifiers, mode: WindowMode::Plain };
        Ok(leaf(Kind::Selector(Box::new(selector)), span))
    }

    /// `{...}`; gives the place of the closing brace.
    fn matchers(&mut self, name: &mut Option<String>, matchers: &mut Vec<Matcher>) -> Parsed<Span> {
        let open = self.advance();
        while self.token() != Token::RightBrace {
            match self.token() {
                Token::Word => {
                    let span = self.advance();
                    let label = self.slice(span).to_owned();
                    let Some(op) = self.match_op() else {
                        let error = *self.unexpected("label matching", "label matching operator");
                        return Err(Box::new(match self.token() {
                            Token::Op(BinaryOp::Equal) => {
                                error.with_help("a label is compared with one =: {label=\"value\"}")
                            }
                            Token::Comma | Token::RightBrace => error.with_help(format!("write {label}=\"value\"")),
                            _ => error,
                        }));
                    };
                    matchers.push(self.matcher(&label, op, span)?);
                }
                Token::Text => {
                    let (label, span) = self.quoted()?;
                    match self.match_op() {
                        Some(op) => matchers.push(self.matcher(&label, op, span)?),
                        None if name.is_none() && !label.is_empty() => *name = Some(label),
                        None => matchers.push(Matcher::equal(NAME, &label)),
                    }
                }
                Token::End => break,
                _ => return Err(self.unexpected("label matching", "identifier or \"}\"")),
            }
            if self.take(Token::Comma).is_none() {
                break;
            }
        }
        match self.token() {
            Token::RightBrace => Ok(self.advance()),
            Token::End => {
                let error = ParseError::new(open, "unexpected end of input inside braces");
                Err(Box::new(error.with_help("add the missing }")))
            }
            _ => Err(self.unexpected("label matching", "\",\" or \"}\"")),
        }
    }

    fn match_op(&mut self) -> Option<MatchOp> {
        let op = match self.token() {
            Token::Assign => MatchOp::Equal,
            Token::Op(BinaryOp::NotEqual) => MatchOp::NotEqual,
            Token::Matches => MatchOp::Matches,
            Token::NotMatches => MatchOp::NotMatches,
            _ => return None,
        };
        self.advance();
        Some(op)
    }

    fn matcher(&mut self, label: &str, op: MatchOp, start: Span) -> Parsed<Matcher> {
        if self.token() != Token::Text {
            let error = *self.unexpected("label matching", "string");
            return Err(Box::new(match self.token() {
                Token::Word | Token::Number | Token::Duration => {
                    error.with_help(format!("values are quoted: {label}{}\"{}\"", op.as_str(), self.slice(self.span())))
                }
                _ => error,
            }));
        }
        let (value, span) = self.quoted()?;
        let place = join_spans(start, span);
        if self.regexes >= limits::PROMQL_REGEXES {
            let message = format!("the expression has more than {} regular expressions", limits::PROMQL_REGEXES);
            return Err(Box::new(ParseError::new(place, message)));
        }
        let matcher =
            Matcher::new(op, label, &value).map_err(|error| Box::new(ParseError::new(place, error.to_string())))?;
        // Plain texts and alternations of them are not compiled.
        let compiled = value.contains(|c: char| r"\.+*?()[]{}^$".contains(c));
        self.regexes += usize::from(compiled && matches!(op, MatchOp::Matches | MatchOp::NotMatches));
        Ok(matcher)
    }

    /// Takes one suffix of an operand, if there is one.
    pub(super) fn suffix(&mut self, tall: &mut Box<Tall>) -> Parsed<bool> {
        match self.token() {
            Token::LeftBracket => self.bracket(tall)?,
            Token::At => self.at_modifier(&mut tall.expr)?,
            Token::Word if self.is_word("offset") => self.offset(&mut tall.expr)?,
            Token::Word if self.is_word("anchored") => self.window_mode(&mut tall.expr, WindowMode::Anchored)?,
            Token::Word if self.is_word("smoothed") => self.window_mode(&mut tall.expr, WindowMode::Smoothed)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn bracket(&mut self, node: &mut Box<Tall>) -> Parsed<()> {
        let open = self.advance();
        let range = self.positive_duration("subquery or range selector", "number, duration, step(), or range()")?;
        if let Some(close) = self.take(Token::RightBracket) {
            return range_selector(&mut node.expr, range, join_spans(open, close));
        }
        self.expect(Token::Colon, "subquery or range", "\":\" or \"]\"")?;
        let step = match self.token() {
            Token::RightBracket => None,
            _ => Some(self.positive_duration("subquery selector", "number, duration, step(), range(), or \"]\"")?),
        };
        let close = self.expect(Token::RightBracket, "subquery selector", "\"]\"")?;
        let span = join_spans(node.expr.span, close);
        let height = node.height;
        let expr = Expr { kind: std::mem::replace(&mut node.expr.kind, nothing()), span: node.expr.span };
        let subquery = Subquery { expr, range, step, modifiers: Modifiers::default() };
        *node = tall(Kind::Subquery(Box::new(subquery)), span, height + SUBQUERY_LEVELS)?;
        Ok(())
    }

    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        let keyword = self.advance();
        let offset = self.offset_duration()?;
        let end = offset.span;
        let Some(modifiers) = modifiers(expr) else {
            let message =
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(misplaced(join_spans(keyword, end), message, "offset"));
        };
        if modifiers.offset.is_some() {
            return Err(Box::new(ParseError::new(join_spans(keyword, end), "offset may not be set multiple times")));
        }
        // An offset of nothing is none, as in Prometheus.
        if offset.kind != DurationKind::Literal(0.0) {
            modifiers.offset = Some(Box::new(offset));
        }
        expr.span.end = end.end;
        Ok(())
    }

    fn at_modifier(&mut self, expr: &mut Expr) -> Parsed<()> {
        let sign = self.advance();
        let (at, end) = if self.is_word("start") || self.is_word("end") {
            let at = if self.is_word("start") { AtModifier::Start } else { AtModifier::End };
            self.advance();
            self.expect(Token::LeftParen, "@", "\"(\"")?;
            (at, self.expect(Token::RightParen, "@", "\")\"")?)
        } else {
            let (secs, span) = self.signed_number("@", "timestamp, start() or end()")?;
            // Beyond this a timestamp in milliseconds does not fit 64 bits.
            if secs.is_nan() || secs.abs() >= i64::MAX as f64 / 1000.0 {
                let message = format!("timestamp out of bounds for @ modifier: {secs}");
                return Err(Box::new(ParseError::new(span, message).with_help("write seconds since 1970")));
            }
            (AtModifier::Time(Timestamp::from_secs_f64(secs)), span)
        };
        let Some(modifiers) = modifiers(expr) else {
            let message =
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(misplaced(join_spans(sign, end), message, "@"));
        };
        if modifiers.at.is_some() {
            return Err(Box::new(ParseError::new(
                join_spans(sign, end),
                "@ <timestamp> may not be set multiple times",
            )));
        }
        modifiers.at = Some(at);
        expr.span.end = end.end;
        Ok(())
    }

    fn window_mode(&mut self, expr: &mut Expr, mode: WindowMode) -> Parsed<()> {
        let keyword = self.advance();
        let word = self.slice(keyword).to_ascii_lowercase();
        let place = match &mut expr.kind {
            Kind::Selector(selector) => &mut selector.mode,
            Kind::Range(range) => &mut range.mode,
            Kind::Subquery(_) => {
                let message = format!("{word} modifier is not supported for subqueries");
                return Err(Box::new(ParseError::new(keyword, message)));
            }
            _ => {
                let message = format!("{word} modifier must be preceded by a selector");
                return Err(Box::new(ParseError::new(keyword, message)));
            }
        };
        if *place != WindowMode::Plain && *place != mode {
            let message = "anchored and smoothed modifiers cannot be used together";
            return Err(Box::new(ParseError::new(keyword, message)));
        }
        *place = mode;
        expr.span.end = keyword.end;
        Ok(())
    }
}

fn misplaced(span: Span, message: &str, modifier: &str) -> Box<ParseError> {
    let help = format!("write it directly behind the selector: sum(metric {modifier} ...)");
    Box::new(ParseError::new(span, message).with_help(help))
}

fn modifiers(expr: &mut Expr) -> Option<&mut Modifiers> {
    match &mut expr.kind {
        Kind::Selector(selector) => Some(&mut selector.modifiers),
        Kind::Range(range) => Some(&mut range.selector.modifiers),
        Kind::Subquery(subquery) => Some(&mut subquery.modifiers),
        _ => None,
    }
}

fn range_selector(expr: &mut Expr, range: DurationExpr, brackets: Span) -> Parsed<()> {
    let refuse = |message: &str, help: &str| Err(Box::new(ParseError::new(brackets, message).with_help(help)));
    let Kind::Selector(selector) = &expr.kind else {
        let help = "for a range over an expression write a subquery with a colon: (expression)[5m:]";
        return refuse("ranges only allowed for vector selectors", help);
    };
    if selector.modifiers.offset.is_some() {
        return refuse("no offset modifiers allowed before range", "write it behind the range: metric[5m] offset 1h");
    }
    if selector.modifiers.at.is_some() {
        return refuse("no @ modifiers allowed before range", "write it behind the range: metric[5m] @ start()");
    }
    let Kind::Selector(mut selector) = std::mem::replace(&mut expr.kind, nothing()) else { return Ok(()) };
    let mode = std::mem::take(&mut selector.mode);
    expr.kind = Kind::Range(Box::new(RangeSelector { selector: *selector, selector_span: expr.span, range, mode }));
    expr.span.end = brackets.end;
    Ok(())
}
