//! Tokens to trees: one for the source itself and one for each `define` and `block` in it.
//! Follows Go's `text/template/parse/parse.go`; variables and functions are checked here, before anything runs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::TemplateError;
use super::funcs::{Dialect, Func};
use super::lex::{Kind, Number, Token, lex};
use super::tree::{Block, Command, Node, Operand, OperandKind, Pipeline};
use crate::limits;

/// What one source holds.
#[derive(Debug)]
pub(super) struct Source {
    pub main: Block,
    pub defined: BTreeMap<String, Arc<Block>>,
}

/// Parses a source in which `variables` (with their dollar) exist from the start.
pub(super) fn parse(source: &str, dialect: Dialect, variables: &[&str]) -> Result<Source, TemplateError> {
    if source.len() > limits::TEMPLATE_BYTES {
        let message = format!("the template is larger than {} bytes", limits::TEMPLATE_BYTES);
        return Err(TemplateError::new(0..0, message));
    }
    let mut parser = Parser {
        tokens: lex(source)?,
        at: 0,
        end: source.len(),
        dialect,
        variables: variables.iter().map(|name| (*name).to_owned()).collect(),
        defined: BTreeMap::new(),
        depth: 0,
        loops: 0,
    };
    let (main, stop) = parser.block()?;
    if let Some((word, span)) = stop {
        return Err(TemplateError::new(span, format!("unexpected {{{{{}}}}}", word.as_str())));
    }
    Ok(Source { main, defined: parser.defined })
}

/// What ends a block.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    End,
    Else,
}

impl Stop {
    fn as_str(self) -> &'static str {
        match self {
            Stop::End => "end",
            Stop::Else => "else",
        }
    }
}

/// What ended a block, and where; `None` at the end of the source.
type Stopped = Option<(Stop, Range<usize>)>;

/// The parts of `if`, `with` and `range`.
struct Control {
    head: Pipeline,
    body: Block,
    otherwise: Block,
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    end: usize,
    dialect: Dialect,
    variables: Vec<String>,
    defined: BTreeMap<String, Arc<Block>>,
    depth: usize,
    loops: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|t| &t.kind)
    }

    fn span(&self) -> Range<usize> {
        self.tokens.get(self.at).map_or(self.end..self.end, |t| t.span.clone())
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, TemplateError> {
        Err(TemplateError::new(self.span(), message))
    }

    fn word(&self) -> Option<&str> {
        match self.peek() {
            Some(Kind::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn close(&mut self, place: &str) -> Result<(), TemplateError> {
        if self.peek() == Some(&Kind::Close) {
            self.at += 1;
            return Ok(());
        }
        self.fail(format!("unexpected {} in {place}: expected }}}}", self.describe()))
    }

    fn describe(&self) -> String {
        match self.peek() {
            None => "end of the template".to_owned(),
            Some(Kind::Text(_)) => "text".to_owned(),
            Some(Kind::Open) => "{{".to_owned(),
            Some(Kind::Close) => "}}".to_owned(),
            Some(Kind::Dot) => "<.>".to_owned(),
            Some(Kind::Field(name)) => format!("<.{name}>"),
            Some(Kind::Variable(name) | Kind::Word(name)) => format!("<{name}>"),
            Some(Kind::Literal(text)) => format!("{text:?}"),
            Some(Kind::Number(Number::Int(number))) => format!("<{number}>"),
            Some(Kind::Number(Number::Float(number))) => format!("<{number}>"),
            Some(Kind::Pipe) => "<|>".to_owned(),
            Some(Kind::LeftParen) => "<(>".to_owned(),
            Some(Kind::RightParen) => "<)>".to_owned(),
            Some(Kind::Declare) => "<:=>".to_owned(),
            Some(Kind::Assign) => "<=>".to_owned(),
            Some(Kind::Comma) => "<,>".to_owned(),
        }
    }

    fn deeper(&mut self) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > limits::TEMPLATE_DEPTH {
            return self.fail(format!("nested deeper than {} levels", limits::TEMPLATE_DEPTH));
        }
        Ok(())
    }

    /// Nodes up to `{{end}}`, `{{else}}` (whose word is taken, and no more) or the end of the source.
    fn block(&mut self) -> Result<(Block, Stopped), TemplateError> {
        let mut nodes = Block::new();
        loop {
            match self.tokens.get(self.at).map(|t| t.kind.clone()) {
                None => return Ok((nodes, None)),
                Some(Kind::Text(text)) => {
                    nodes.push(Node::Text(text));
                    self.at += 1;
                }
                _ => {
                    self.at += 1;
                    let span = self.span();
                    let stop = match self.word() {
                        Some("end") => Some(Stop::End),
                        Some("else") => Some(Stop::Else),
                        _ => None,
                    };
                    if let Some(stop) = stop {
                        self.at += 1;
                        return Ok((nodes, Some((stop, span))));
                    }
                    nodes.extend(self.action()?);
                }
            }
        }
    }

    /// What stands after `{{`, its closing braces included.
    fn action(&mut self) -> Result<Option<Node>, TemplateError> {
        let span = self.span();
        let keyword = self.word().unwrap_or_default().to_owned();
        self.at += 1;
        let node = match keyword.as_str() {
            "if" => {
                let Control { head, body, otherwise } = self.control("if", &span)?;
                Node::If { test: head, then: body, otherwise }
            }
            "with" => {
                let Control { head, body, otherwise } = self.control("with", &span)?;
                Node::With { value: head, then: body, otherwise }
            }
            "range" => {
                let Control { head, body, otherwise } = self.control("range", &span)?;
                Node::Range { over: head, body, otherwise }
            }
            "break" | "continue" => {
                self.close(&keyword)?;
                if self.loops == 0 {
                    return Err(TemplateError::new(span, format!("{{{{{keyword}}}}} outside {{{{range}}}}")));
                }
                if keyword == "break" { Node::Break } else { Node::Continue }
            }
            "template" => {
                let name: Arc<str> = self.name("template")?.into();
                let argument = if self.peek() == Some(&Kind::Close) { None } else { Some(self.pipeline("template")?) };
                self.close("template")?;
                Node::Call { name, argument, span }
            }
            "define" => {
                if self.depth > 0 {
                    return Err(TemplateError::new(span, "unexpected {{define}}: it stands at the top level only"));
                }
                let name = self.name("define")?;
                self.close("define")?;
                self.define(&name, &span)?;
                return Ok(None);
            }
            "block" => {
                let name = self.name("block")?;
                let argument = Some(self.pipeline("block")?);
                self.close("block")?;
                self.define(&name, &span)?;
                Node::Call { name: name.into(), argument, span }
            }
            _ => {
                self.at -= 1;
                let pipeline = self.pipeline("command")?;
                self.close("command")?;
                Node::Action(pipeline)
            }
        };
        Ok(Some(node))
    }

    fn name(&mut self, place: &str) -> Result<String, TemplateError> {
        let Some(Kind::Literal(name)) = self.peek() else {
            return self.fail(format!("unexpected {} in {place}: expected a name in quotes", self.describe()));
        };
        let name = name.clone();
        self.at += 1;
        Ok(name)
    }

    /// A definition's body: it sees `$` alone.
    fn define(&mut self, name: &str, span: &Range<usize>) -> Result<(), TemplateError> {
        self.deeper()?;
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let loops = std::mem::take(&mut self.loops);
        let (body, stop) = self.block()?;
        self.expect_end(stop, span, "define")?;
        self.variables = variables;
        self.loops = loops;
        self.depth -= 1;
        // As in Go, an empty definition does not replace one that says something.
        let empty = body.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()));
        if !(empty && self.defined.contains_key(name)) {
            self.defined.insert(name.to_owned(), Arc::new(body));
        }
        Ok(())
    }

    fn expect_end(&mut self, stop: Stopped, from: &Range<usize>, place: &str) -> Result<(), TemplateError> {
        match stop {
            Some((Stop::End, _)) => self.close("end"),
            Some((Stop::Else, span)) => Err(TemplateError::new(span, format!("unexpected {{{{else}}}} in {place}"))),
            None => Err(TemplateError::new(from.clone(), format!("this {{{{{place}}}}} has no {{{{end}}}}"))),
        }
    }

    fn control(&mut self, place: &'static str, span: &Range<usize>) -> Result<Control, TemplateError> {
        self.deeper()?;
        let scope = self.variables.len();
        let head = self.pipeline(place)?;
        self.close(place)?;
        let is_loop = usize::from(place == "range");
        self.loops += is_loop;
        let (body, stop) = self.block()?;
        self.loops -= is_loop;
        let mut otherwise = Block::new();
        match stop {
            Some((Stop::Else, _)) => otherwise = self.otherwise(place, span)?,
            stop => self.expect_end(stop, span, place)?,
        }
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(Control { head, body, otherwise })
    }

    /// After the word `else`: a block of its own, or another `if` or `with` that shares the `end`.
    fn otherwise(&mut self, place: &'static str, span: &Range<usize>) -> Result<Block, TemplateError> {
        let again = match (place, self.word()) {
            ("if", Some("if")) => Some("if"),
            ("with", Some("with")) => Some("with"),
            _ => None,
        };
        if let Some(again) = again {
            let span = self.span();
            self.at += 1;
            let Control { head, body, otherwise } = self.control(again, &span)?;
            let node = match again {
                "if" => Node::If { test: head, then: body, otherwise },
                _ => Node::With { value: head, then: body, otherwise },
            };
            return Ok(vec![node]);
        }
        self.close("else")?;
        let (body, stop) = self.block()?;
        self.expect_end(stop, span, place)?;
        Ok(body)
    }

    fn pipeline(&mut self, place: &str) -> Result<Pipeline, TemplateError> {
        self.deeper()?;
        let from = self.span().start;
        let (variables, assigns) = self.declaration(place)?;
        let mut commands: Vec<Command> = Vec::new();
        loop {
            let command = self.command()?;
            if let Some(command) = command {
                if !commands.is_empty() && !can_take_a_value(&command) {
                    let stage = commands.len() + 1;
                    let message =
                        format!("the value cannot be piped into this: stage {stage} is no function or method");
                    return Err(TemplateError::new(command.head.span, message));
                }
                commands.push(command);
            } else if commands.is_empty() {
                return self.fail(format!("missing value for {place}"));
            } else {
                return self.fail("missing command after |");
            }
            match self.peek() {
                Some(Kind::Pipe) => self.at += 1,
                Some(Kind::Close | Kind::RightParen) => break,
                _ => return self.fail(format!("unexpected {} in {place}", self.describe())),
            }
        }
        let to = self.tokens[self.at - 1].span.end;
        // Declared names are seen by what follows, not by their own pipeline.
        if !assigns {
            self.variables.extend(variables.iter().map(|name| name.to_string()));
        }
        self.depth -= 1;
        Ok(Pipeline { variables, assigns, commands, span: from..to })
    }

    /// `$a :=`, `$a =`, and for range also `$a, $b :=`.
    fn declaration(&mut self, place: &str) -> Result<(Vec<Arc<str>>, bool), TemplateError> {
        let kind = |at: usize| self.tokens.get(at).map(|t| &t.kind);
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut at = self.at;
        while let Some(Kind::Variable(name)) = kind(at) {
            names.push(name.as_str().into());
            match kind(at + 1) {
                Some(Kind::Comma) if place == "range" && names.len() == 1 => at += 2,
                Some(Kind::Declare | Kind::Assign) => {
                    let assigns = kind(at + 1) == Some(&Kind::Assign);
                    self.at = at + 2;
                    if assigns {
                        for name in &names {
                            self.known(name)?;
                        }
                    }
                    return Ok((names, assigns));
                }
                Some(Kind::Comma) => {
                    self.at = at + 1;
                    return self.fail(format!("too many declarations in {place}"));
                }
                _ => break,
            }
        }
        Ok((Vec::new(), false))
    }

    fn known(&self, name: &str) -> Result<(), TemplateError> {
        if self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        let near = self.variables.iter().filter(|v| v.len() > 1).map(String::as_str).collect::<Vec<_>>().join(", ");
        let hint = if near.is_empty() { String::new() } else { format!("; there are {near}") };
        self.fail(format!("undefined variable {name:?}{hint}"))
    }

    fn command(&mut self) -> Result<Option<Command>, TemplateError> {
        let Some(head) = self.operand()? else { return Ok(None) };
        let mut arguments = Vec::new();
        while !matches!(self.peek(), Some(Kind::Pipe | Kind::Close | Kind::RightParen)) {
            if self.tokens.get(self.at).is_some_and(|token| !token.spaced) {
                return self.fail(format!("unexpected {} in operand", self.describe()));
            }
            match self.operand()? {
                Some(argument) => arguments.push(argument),
                None => return self.fail(format!("unexpected {} in command", self.describe())),
            }
        }
        if matches!(head.kind, OperandKind::Nil) {
            return Err(TemplateError::new(head.span, "nil is not a command"));
        }
        let takes = matches!(head.kind, OperandKind::Function(_)) || !head.fields.is_empty();
        if !arguments.is_empty() && !takes {
            return Err(TemplateError::new(head.span, "cannot give arguments to what is no function or method"));
        }
        Ok(Some(Command { head, arguments }))
    }

    fn operand(&mut self) -> Result<Option<Operand>, TemplateError> {
        let mut span = self.span();
        let Some(token) = self.tokens.get(self.at) else { return Ok(None) };
        let mut fields: Vec<Arc<str>> = Vec::new();
        let kind = match token.kind.clone() {
            Kind::Dot => OperandKind::Dot,
            Kind::Field(name) => {
                fields.push(name.into());
                OperandKind::Dot
            }
            Kind::Variable(name) => {
                self.known(&name)?;
                OperandKind::Variable(name.into())
            }
            Kind::Literal(text) => OperandKind::Text(text.into()),
            Kind::Number(Number::Int(number)) => OperandKind::Int(number),
            Kind::Number(Number::Float(number)) => OperandKind::Float(number),
            Kind::LeftParen => {
                self.at += 1;
                let inner = self.pipeline("parenthesized pipeline")?;
                if self.peek() != Some(&Kind::RightParen) {
                    return self.fail(format!("unexpected {}: a right parenthesis is missing", self.describe()));
                }
                span.end = self.span().end;
                OperandKind::Parens(Box::new(inner))
            }
            Kind::Word(word) => match word.as_str() {
                "nil" => OperandKind::Nil,
                "true" => OperandKind::Bool(true),
                "false" => OperandKind::Bool(false),
                name => match Func::named(name, self.dialect) {
                    Some(func) => OperandKind::Function(func),
                    None => return self.fail(format!("function {name:?} not defined")),
                },
            },
            _ => return Ok(None),
        };
        self.at += 1;
        while let Some(Token { kind: Kind::Field(name), spaced: false, span: field }) = self.tokens.get(self.at) {
            if matches!(
                kind,
                OperandKind::Bool(_)
                    | OperandKind::Int(_)
                    | OperandKind::Float(_)
                    | OperandKind::Text(_)
                    | OperandKind::Nil
            ) {
                return self.fail(format!("unexpected <.{name}> after a constant"));
            }
            span.end = field.end;
            fields.push(name.as_str().into());
            self.at += 1;
        }
        Ok(Some(Operand { kind, fields, span }))
    }
}

/// What may stand after a pipe: Go refuses constants and the bare dot.
fn can_take_a_value(command: &Command) -> bool {
    match command.head.kind {
        OperandKind::Bool(_)
        | OperandKind::Int(_)
        | OperandKind::Float(_)
        | OperandKind::Text(_)
        | OperandKind::Nil => false,
        OperandKind::Dot => !command.head.fields.is_empty(),
        _ => true,
    }
}
