//! Runs a parsed template over a value. Bounded in steps, output, nesting and recursion: a hostile template ends with
//! an error, never with a full memory or stack.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::funcs::Func;
use super::method::field;
use super::text;
use super::tree::{Block, Command, Node, Operand, OperandKind, Pipeline};
use super::value::Value;
use super::{QueryFn, TemplateError, gofmt};
use crate::limits;
use crate::time::Timestamp;

/// What functions see besides their arguments.
pub(super) struct Env<'a> {
    pub now: Timestamp,
    pub external_url: &'a str,
    pub query: &'a QueryFn<'a>,
    /// Inserted values are escaped for HTML.
    pub html: bool,
    /// What is done to each inserted value, before HTML's escaping.
    pub escape: Option<&'a dyn Fn(&str) -> String>,
    /// Templates of the same source.
    pub own: &'a BTreeMap<String, Arc<Block>>,
    /// Templates of other sources.
    pub shared: &'a BTreeMap<String, Arc<Block>>,
}

/// Runs `block` with `dot` and further variables; `$` is `dot`.
pub(super) fn run(
    block: &Block,
    dot: Value,
    variables: &[(&str, Value)],
    env: &Env<'_>,
) -> Result<String, TemplateError> {
    let mut scope = vec![(Arc::from("$"), dot.clone())];
    scope.extend(variables.iter().map(|(name, value)| (Arc::from(*name), value.clone())));
    let mut run = Run { env, out: String::new(), steps: 0, depth: 0, scope };
    run.block(block, &dot)?;
    Ok(run.out)
}

/// How a block ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Run<'a> {
    env: &'a Env<'a>,
    out: String,
    steps: usize,
    depth: usize,
    scope: Vec<(Arc<str>, Value)>,
}

type Outcome<T> = Result<T, TemplateError>;

fn fail<T>(span: &Range<usize>, message: impl Into<String>) -> Outcome<T> {
    Err(TemplateError::new(span.clone(), message))
}

impl Run<'_> {
    fn charge(&mut self, steps: usize, span: &Range<usize>) -> Outcome<()> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > limits::TEMPLATE_STEPS {
            return fail(span, format!("the template takes more than {} steps", limits::TEMPLATE_STEPS));
        }
        Ok(())
    }

    fn deeper(&mut self, span: &Range<usize>) -> Outcome<()> {
        self.depth += 1;
        if self.depth > 2 * limits::TEMPLATE_DEPTH {
            return fail(span, format!("templates call each other deeper than {} levels", 2 * limits::TEMPLATE_DEPTH));
        }
        Ok(())
    }

    fn write(&mut self, text: &str, span: &Range<usize>) -> Outcome<()> {
        if self.out.len() + text.len() > limits::TEMPLATE_OUTPUT_BYTES {
            return fail(span, format!("the output is larger than {} bytes", limits::TEMPLATE_OUTPUT_BYTES));
        }
        self.out.push_str(text);
        Ok(())
    }

    /// Runs a block in a scope of its own.
    fn block(&mut self, block: &Block, dot: &Value) -> Outcome<Flow> {
        self.deeper(&(0..0))?;
        let scope = self.scope.len();
        let mut flow = Flow::Next;
        for node in block {
            flow = self.node(node, dot)?;
            if flow != Flow::Next {
                break;
            }
        }
        self.scope.truncate(scope);
        self.depth -= 1;
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Outcome<Flow> {
        let scope = self.scope.len();
        let flow = match node {
            Node::Text(text) => {
                self.charge(1, &(0..0))?;
                self.write(text, &(0..0))?;
                Flow::Next
            }
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.insert(&value, &pipeline.span)?;
                }
                return Ok(Flow::Next);
            }
            Node::If { test, then, otherwise } => {
                let holds = self.pipeline(test, dot)?.truth();
                self.block(if holds { then } else { otherwise }, dot)?
            }
            Node::With { value, then, otherwise } => {
                let value = self.pipeline(value, dot)?;
                if value.truth() { self.block(then, &value)? } else { self.block(otherwise, dot)? }
            }
            Node::Range { over, body, otherwise } => self.range(over, body, otherwise, dot)?,
            Node::Call { name, argument, span } => {
                self.call(name, argument.as_ref(), span, dot)?;
                Flow::Next
            }
            Node::Break => Flow::Break,
            Node::Continue => Flow::Continue,
        };
        self.scope.truncate(scope);
        Ok(flow)
    }

    /// Prints a value at the end of an action.
    fn insert(&mut self, value: &Value, span: &Range<usize>) -> Outcome<()> {
        let text = match value {
            // html/template leaves out what is missing; text/template says so.
            Value::Nil if self.env.html => String::new(),
            Value::Nil => "<no value>".to_owned(),
            value => gofmt::display(value),
        };
        self.charge(1 + text.len() / 64, span)?;
        if matches!(value, Value::Html(_)) {
            return self.write(&text, span);
        }
        let text = match self.env.escape {
            Some(escape) => escape(&text),
            None => text,
        };
        if !self.env.html {
            return self.write(&text, span);
        }
        let text = match value {
            Value::Url(_) => text::normal_address(&text),
            _ if opens_link(&self.out) => text::safe_address(&text),
            _ => text,
        };
        self.write(&text::html_inserted(&text), span)
    }

    fn range(&mut self, over: &Pipeline, body: &Block, otherwise: &Block, dot: &Value) -> Outcome<Flow> {
        let scope = self.scope.len();
        let value = self.pipeline(over, dot)?;
        // The executor declares the variables itself, an iteration at a time.
        self.scope.truncate(scope);
        let pairs: Box<dyn Iterator<Item = (Value, Value)>> = match &value {
            Value::Nil => Box::new(std::iter::empty()),
            Value::List(list) => {
                Box::new(list.items.iter().enumerate().map(|(at, item)| (Value::Int(at as i64), item.clone())))
            }
            Value::Map(_) | Value::Labels(_) => {
                let entries = value.entries().unwrap_or_default();
                Box::new(entries.into_iter().map(|(key, item)| (Value::Text(key), item)))
            }
            Value::Int(count) => Box::new((0..*count).map(|at| (Value::Int(at), Value::Int(at)))),
            other => {
                let shown = gofmt::display(other);
                return fail(&over.span, format!("range can't iterate over {shown}"));
            }
        };
        let mut any = false;
        for (key, item) in pairs {
            any = true;
            self.charge(1, &over.span)?;
            match &over.variables[..] {
                [one] => self.bind(over, one, &item),
                [first, second] => {
                    self.bind(over, first, &key);
                    self.bind(over, second, &item);
                }
                _ => {}
            }
            let flow = self.block(body, &item)?;
            self.scope.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        // A break or continue in the else branch is the outer loop's.
        if any { Ok(Flow::Next) } else { self.block(otherwise, dot) }
    }

    fn bind(&mut self, pipeline: &Pipeline, name: &Arc<str>, value: &Value) {
        if !pipeline.assigns {
            self.scope.push((name.clone(), value.clone()));
        } else if let Some(slot) = self.scope.iter_mut().rev().find(|(known, _)| known == name) {
            slot.1 = value.clone();
        }
    }

    fn call(&mut self, name: &str, argument: Option<&Pipeline>, span: &Range<usize>, dot: &Value) -> Outcome<()> {
        let argument = match argument {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Nil,
        };
        let own = self.env.own.get(name);
        let Some(block) = own.or_else(|| self.env.shared.get(name)) else {
            return fail(span, format!("template {name:?} not defined"));
        };
        self.charge(1, span)?;
        self.deeper(span)?;
        let outer = std::mem::replace(&mut self.scope, vec![(Arc::from("$"), argument.clone())]);
        let block = block.clone();
        let result = self.block(&block, &argument);
        self.scope = outer;
        self.depth -= 1;
        match result {
            Ok(_) => Ok(()),
            // A place in another source says nothing here: name the template, and point at the call.
            Err(error) if own.is_none() => {
                let inside = error.message.starts_with("in template ");
                let message = if inside { error.message } else { format!("in template {name:?}: {}", error.message) };
                fail(span, message)
            }
            Err(error) if error.span == (0..0) => fail(span, error.message),
            Err(error) => Err(error),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Outcome<Value> {
        self.deeper(&pipeline.span)?;
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value, dot)?);
        }
        let value = value.unwrap_or(Value::Nil);
        for name in &pipeline.variables {
            self.bind(pipeline, name, &value);
        }
        self.depth -= 1;
        Ok(value)
    }

    /// One command; the value of the command before it is its last argument.
    fn command(&mut self, command: &Command, last: Option<Value>, dot: &Value) -> Outcome<Value> {
        let Command { head, arguments } = command;
        self.charge(1, &head.span)?;
        if let (OperandKind::Function(func), true) = (&head.kind, head.fields.is_empty()) {
            return self.function(*func, arguments, last, head, dot);
        }
        let Some((method, path)) = head.fields.split_last() else {
            if last.is_some() {
                return fail(&head.span, "can't give argument to what is no function or method");
            }
            return self.operand(head, dot);
        };
        let receiver = self.base(head, dot)?;
        let receiver = self.walk(receiver, path, head)?;
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            values.push(self.operand(argument, dot)?);
        }
        values.extend(last);
        self.step_into(receiver, method, &values, head.fields.len() > 1, head)
    }

    /// The value of an operand: its base and the fields after it.
    fn operand(&mut self, operand: &Operand, dot: &Value) -> Outcome<Value> {
        self.charge(1, &operand.span)?;
        let base = self.base(operand, dot)?;
        self.walk(base, &operand.fields, operand)
    }

    fn base(&mut self, operand: &Operand, dot: &Value) -> Outcome<Value> {
        Ok(match &operand.kind {
            OperandKind::Dot => dot.clone(),
            OperandKind::Nil => Value::Nil,
            OperandKind::Variable(name) => match self.scope.iter().rev().find(|(known, _)| known == name) {
                Some((_, value)) => value.clone(),
                None => return fail(&operand.span, format!("undefined variable: {name}")),
            },
            OperandKind::Function(func) => self.function(*func, &[], None, operand, dot)?,
            OperandKind::Bool(value) => Value::Bool(*value),
            OperandKind::Int(number) => Value::Int(*number),
            OperandKind::Float(number) => Value::Float(*number),
            OperandKind::Text(text) => Value::text(&**text),
            OperandKind::Parens(pipeline) => {
                let scope = self.scope.len();
                let value = self.pipeline(pipeline, dot)?;
                if !pipeline.variables.is_empty() && !pipeline.assigns {
                    self.scope.truncate(scope);
                }
                value
            }
        })
    }

    fn walk(&mut self, mut value: Value, fields: &[Arc<str>], operand: &Operand) -> Outcome<Value> {
        for (at, name) in fields.iter().enumerate() {
            value = self.step_into(value, name, &[], at > 0, operand)?;
        }
        Ok(value)
    }

    fn step_into(
        &mut self,
        value: Value,
        name: &str,
        args: &[Value],
        inside: bool,
        operand: &Operand,
    ) -> Outcome<Value> {
        // A field of nothing is nothing; within a chain Go calls it a nil pointer.
        if matches!(value, Value::Nil) {
            return match inside {
                true => fail(&operand.span, format!("nil pointer evaluating interface {{}}.{name}")),
                false => Ok(Value::Nil),
            };
        }
        match field(&value, name, args) {
            Ok(found) => {
                self.charge_for(&found, operand)?;
                Ok(found)
            }
            Err(message) => fail(&operand.span, message),
        }
    }

    /// What is made costs steps by its size, so that memory is bounded by them too.
    fn charge_for(&mut self, value: &Value, operand: &Operand) -> Outcome<()> {
        let size = match value {
            Value::List(list) => list.items.len() / 4,
            Value::Map(map) => map.entries.len() / 4,
            value => value.as_text().map_or(0, |text| text.len() / 64),
        };
        self.charge(size, &operand.span)
    }

    fn function(
        &mut self,
        func: Func,
        arguments: &[Operand],
        last: Option<Value>,
        head: &Operand,
        dot: &Value,
    ) -> Outcome<Value> {
        if matches!(func, Func::And | Func::Or) {
            return self.short_circuit(func, arguments, last, head, dot);
        }
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            values.push(self.operand(argument, dot)?);
        }
        values.extend(last);
        if matches!(func, Func::Match | Func::ReReplaceAll | Func::Query) {
            // Compiling a pattern and running a query are dear.
            self.charge(500, &head.span)?;
        }
        match func.call(&values, self.env) {
            Ok(Value::Text(text)) if text.len() > limits::TEMPLATE_OUTPUT_BYTES => {
                fail(&head.span, format!("{} gives more than {} bytes", func.name(), limits::TEMPLATE_OUTPUT_BYTES))
            }
            Ok(value) => {
                self.charge_for(&value, head)?;
                Ok(value)
            }
            Err(message) => fail(&head.span, message),
        }
    }

    /// `and` and `or`: the first argument that decides, or the last.
    fn short_circuit(
        &mut self,
        func: Func,
        arguments: &[Operand],
        last: Option<Value>,
        head: &Operand,
        dot: &Value,
    ) -> Outcome<Value> {
        let decides = |value: &Value| value.truth() == (func == Func::Or);
        let mut value = None;
        for argument in arguments {
            let next = self.operand(argument, dot)?;
            if decides(&next) {
                return Ok(next);
            }
            value = Some(next);
        }
        match last.or(value) {
            Some(value) => Ok(value),
            None => fail(&head.span, format!("wrong number of args for {}: want at least 1 got 0", func.name())),
        }
    }
}

/// Whether the output ends where the value of a link's attribute begins.
fn opens_link(out: &str) -> bool {
    let start = out.strip_suffix(['"', '\'']).unwrap_or(out).trim_end();
    let Some(start) = start.strip_suffix('=') else { return false };
    let name = start.trim_end();
    let name = name.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).map_or(name, |at| &name[at + 1..]);
    ["href", "src", "action", "formaction", "cite", "poster", "background"].iter().any(|a| name.eq_ignore_ascii_case(a))
}
