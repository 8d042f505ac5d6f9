//! Durations in brackets and behind `offset`: literals, and arithmetic over literals, `step()`, `range()`, `min_of`
//! and `max_of`.
//!
//! Behind `offset` only one signed term is taken: `x offset -2 ^ 2` is `(x offset -2) ^ 2`. A term in parentheses
//! without a sign goes on as arithmetic, as Prometheus' grammar has it.

use super::ast::{BinaryOp, DurationExpr, DurationKind, Span};
use super::error::ParseError;
use super::lexer::Token;
use super::parser::{Parsed, Parser, join_spans};
use crate::limits;

/// Seconds that fit Go's `time.Duration`.
const MAX_SECS: f64 = 9_223_372_036.854_775;

const EXPECTED: &str = "number, duration, step(), or range()";

/// A duration and the height of its tree.
type Tall = (DurationExpr, usize);

impl Parser<'_> {
    /// A duration in brackets.
    pub(super) fn positive_duration(&mut self, context: &str, expected: &str) -> Parsed<DurationExpr> {
        let (duration, _) = self.duration(0, 0, context, expected)?;
        if constant(&duration).is_some_and(|secs| secs <= 0.0) {
            return Err(Box::new(ParseError::new(duration.span, "duration must be greater than 0")));
        }
        Ok(duration)
    }

    /// A duration behind `offset`.
    pub(super) fn offset_duration(&mut self) -> Parsed<DurationExpr> {
        if self.token() == Token::LeftParen {
            return Ok(self.duration(0, 0, "offset", EXPECTED)?.0);
        }
        if let Token::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.token() {
            let sign = self.advance();
            let (inner, _) = self.duration_term(1, "offset", EXPECTED)?;
            return Ok(signed(sign, op, inner));
        }
        Ok(self.duration_term(1, "offset", EXPECTED)?.0)
    }

    fn duration(&mut self, least: u8, depth: usize, context: &str, expected: &str) -> Parsed<Tall> {
        let (mut left, mut height) = match self.token() {
            Token::Op(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                let sign = self.advance();
                let (inner, height) = self.duration(BinaryOp::Pow.power(), self.deeper(depth)?, context, expected)?;
                (signed(sign, op, inner), height + 1)
            }
            _ => self.duration_term(depth, context, expected)?,
        };
        while let Token::Op(op) = self.token()
            && matches!(op.power(), power if power >= BinaryOp::Add.power() && power >= least)
        {
            let place = self.advance();
            let next = if op == BinaryOp::Pow { op.power() } else { op.power() + 1 };
            let (right, right_height) = self.duration(next, self.deeper(depth)?, context, EXPECTED)?;
            refuse_zero(op, place, &right)?;
            height = self.deeper(height.max(right_height))?;
            let span = join_spans(left.span, right.span);
            left = DurationExpr { kind: DurationKind::Binary(op, Box::new(left), Box::new(right)), span };
        }
        Ok((left, height))
    }

    fn duration_term(&mut self, depth: usize, context: &str, expected: &str) -> Parsed<Tall> {
        let start = self.span();
        match self.token() {
            Token::Number | Token::Duration => {
                let (secs, span) = self.number()?;
                if secs.is_nan() || secs.abs() > MAX_SECS {
                    return Err(Box::new(ParseError::new(span, "duration out of range")));
                }
                Ok((DurationExpr { kind: DurationKind::Literal(secs), span }, 1))
            }
            Token::LeftParen => {
                self.advance();
                let (inner, height) = self.duration(0, self.deeper(depth)?, context, EXPECTED)?;
                let close = self.close(start, "duration expression", "an operator or \")\"")?;
                let kind = DurationKind::Paren(Box::new(inner));
                Ok((DurationExpr { kind, span: join_spans(start, close) }, height + 1))
            }
            Token::Word if self.lexeme(1).token == Token::LeftParen => self.duration_call(depth, context, expected),
            _ => Err(self.unexpected(context, expected)),
        }
    }

    fn duration_call(&mut self, depth: usize, context: &str, expected: &str) -> Parsed<Tall> {
        let plain = match self.word().to_ascii_lowercase().as_str() {
            "step" => Some(DurationKind::Step),
            "range" => Some(DurationKind::Range),
            "min_of" | "max_of" => None,
            _ => return Err(self.unexpected(context, expected)),
        };
        let min = self.is_word("min_of");
        let name = self.advance();
        let open = self.advance();
        if let Some(kind) = plain {
            let close = self.close(open, "duration expression", "\")\"")?;
            return Ok((DurationExpr { kind, span: join_spans(name, close) }, 1));
        }
        let (left, left_height) = self.duration(0, self.deeper(depth)?, "duration expression", EXPECTED)?;
        self.expect(Token::Comma, "duration expression", "\",\"")?;
        let (right, right_height) = self.duration(0, self.deeper(depth)?, "duration expression", EXPECTED)?;
        let close = self.close(open, "duration expression", "an operator or \")\"")?;
        let (left, right) = (Box::new(left), Box::new(right));
        let kind = if min { DurationKind::Min(left, right) } else { DurationKind::Max(left, right) };
        Ok((DurationExpr { kind, span: join_spans(name, close) }, left_height.max(right_height) + 1))
    }

    fn deeper(&self, depth: usize) -> Parsed<usize> {
        // Durations stand within expressions, so they get a part of the whole depth.
        const DEPTH: usize = limits::PROMQL_DEPTH / 4;
        if depth >= DEPTH {
            let message = format!("the duration is nested deeper than {DEPTH} levels");
            return Err(Box::new(ParseError::new(self.span(), message)));
        }
        Ok(depth + 1)
    }
}

fn signed(sign: Span, op: BinaryOp, mut inner: DurationExpr) -> DurationExpr {
    let span = join_spans(sign, inner.span);
    if op == BinaryOp::Sub {
        return match inner.kind {
            // Subtracted, not negated: nothing has no sign.
            DurationKind::Literal(secs) => DurationExpr { kind: DurationKind::Literal(0.0 - secs), span },
            _ => DurationExpr { kind: DurationKind::Negate(Box::new(inner)), span },
        };
    }
    inner.span = span;
    inner
}

fn refuse_zero(op: BinaryOp, place: Span, right: &DurationExpr) -> Parsed<()> {
    let message = match op {
        BinaryOp::Div => "division by zero",
        BinaryOp::Mod => "modulo by zero",
        _ => return Ok(()),
    };
    if constant(right) == Some(0.0) { Err(Box::new(ParseError::new(place, message))) } else { Ok(()) }
}

/// The seconds of a literal, in parentheses or not.
fn constant(duration: &DurationExpr) -> Option<f64> {
    match &duration.kind {
        DurationKind::Literal(secs) => Some(*secs),
        DurationKind::Paren(inner) => constant(inner),
        _ => None,
    }
}
