//! The tree of an expression as JSON: the form of `/api/v1/parse_query` (`web/api/v1/translate_ast.go`).

use serde_json::{Value, json};

use crate::model::Matcher;
use crate::promql::{
    Aggregate, AtModifier, Binary, BinaryOp, Call, Cardinality, DurationExpr, DurationKind, Expr, Kind, Modifiers,
    Selector, ValueType, VectorMatching, WindowMode,
};

/// The tree as the API shows it. Durations are in milliseconds; one that is worked out at the query is 0.
pub(super) fn tree(expr: &Expr) -> Value {
    match &expr.kind {
        Kind::Number(value) => json!({ "type": "numberLiteral", "val": super::envelope::number(*value) }),
        Kind::Text(text) => json!({ "type": "stringLiteral", "val": text }),
        Kind::Selector(selector) => selector_json("vectorSelector", selector, selector.mode),
        Kind::Range(range) => {
            let mut value = selector_json("matrixSelector", &range.selector, range.mode);
            value["range"] = json!(millis(Some(&range.range)));
            value
        }
        Kind::Subquery(subquery) => {
            let mut value = json!({
                "type": "subquery",
                "expr": tree(&subquery.expr),
                "range": millis(Some(&subquery.range)),
                "step": millis(subquery.step.as_ref()),
            });
            modifiers(&mut value, &subquery.modifiers);
            value
        }
        Kind::Call(call) => call_json(call),
        Kind::Aggregate(aggregate) => aggregate_json(aggregate),
        Kind::Negate(inner) => json!({ "type": "unaryExpr", "op": "-", "expr": tree(inner) }),
        Kind::Binary(binary) => binary_json(binary),
        Kind::Paren(inner) => json!({ "type": "parenExpr", "expr": tree(inner) }),
    }
}

fn selector_json(kind: &str, selector: &Selector, mode: WindowMode) -> Value {
    let matcher = |m: &Matcher| json!({ "name": m.name, "value": m.value, "type": m.op.as_str() });
    let mut value = json!({
        "type": kind,
        "name": selector.name().unwrap_or(""),
        "matchers": selector.matchers.iter().map(matcher).collect::<Vec<_>>(),
        "anchored": mode == WindowMode::Anchored,
        "smoothed": mode == WindowMode::Smoothed,
    });
    modifiers(&mut value, &selector.modifiers);
    value
}

fn modifiers(value: &mut Value, modifiers: &Modifiers) {
    value["offset"] = json!(millis(modifiers.offset.as_deref()));
    value["timestamp"] = match &modifiers.at {
        Some(AtModifier::Time(at)) => json!(at.as_millis()),
        _ => Value::Null,
    };
    value["startOrEnd"] = match &modifiers.at {
        Some(AtModifier::Start) => json!("start"),
        Some(AtModifier::End) => json!("end"),
        _ => Value::Null,
    };
}

fn millis(duration: Option<&DurationExpr>) -> i64 {
    match duration.map(|duration| &duration.kind) {
        Some(DurationKind::Literal(seconds)) => (seconds * 1000.0).round() as i64,
        _ => 0,
    }
}

fn type_word(kind: ValueType) -> &'static str {
    match kind {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}

fn call_json(call: &Call) -> Value {
    json!({
        "type": "call",
        "func": {
            "name": call.function.name,
            "argTypes": call.function.args.iter().map(|kind| type_word(*kind)).collect::<Vec<_>>(),
            "variadic": call.function.variadic,
            "returnType": type_word(call.function.returns),
        },
        "args": call.args.iter().map(tree).collect::<Vec<_>>(),
    })
}

fn aggregate_json(aggregate: &Aggregate) -> Value {
    json!({
        "type": "aggregation",
        "op": aggregate.op.as_str(),
        "expr": tree(&aggregate.expr),
        "param": aggregate.param.as_ref().map(tree),
        "grouping": aggregate.grouping,
        "without": aggregate.without,
    })
}

fn binary_json(binary: &Binary) -> Value {
    json!({
        "type": "binaryExpr",
        "op": binary.op.as_str(),
        "lhs": tree(&binary.left),
        "rhs": tree(&binary.right),
        "matching": binary.matching.as_ref().map(|matching| matching_json(matching, binary.op)),
        "bool": binary.return_bool,
    })
}

fn matching_json(matching: &VectorMatching, op: BinaryOp) -> Value {
    let card = match matching.cardinality {
        _ if op.is_set() => "many-to-many",
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    json!({
        "card": card,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": { "lhs": matching.fill_left, "rhs": matching.fill_right },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::parse;

    fn of(text: &str) -> Value {
        tree(&parse(text).expect(text))
    }

    #[test]
    fn every_kind_of_node_has_prometheus_form() {
        let sum = of("sum by (job) (rate(hits_total{code=~\"5..\"}[5m] offset 1m)) > bool -1");
        assert_eq!((&sum["type"], &sum["op"], &sum["bool"]), (&json!("binaryExpr"), &json!(">"), &json!(true)));
        assert_eq!((&sum["lhs"]["type"], &sum["lhs"]["grouping"]), (&json!("aggregation"), &json!(["job"])));
        let rate = &sum["lhs"]["expr"];
        assert_eq!(
            rate["func"],
            json!({ "name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector" })
        );
        let range = &rate["args"][0];
        assert_eq!((&range["range"], &range["offset"]), (&json!(300_000), &json!(60_000)));
        assert_eq!(range["matchers"][1], json!({ "name": "code", "value": "5..", "type": "=~" }));
        let join = of("a * on (x) group_left (y) b @ 1.5");
        assert_eq!((&join["matching"]["card"], &join["matching"]["include"]), (&json!("many-to-one"), &json!(["y"])));
        assert_eq!(join["rhs"]["timestamp"], json!(1_500));
        let subquery = of("max_over_time((a or b)[1h:1m] @ start())");
        assert_eq!(
            (&subquery["args"][0]["step"], &subquery["args"][0]["startOrEnd"]),
            (&json!(60_000), &json!("start"))
        );
        assert_eq!(subquery["args"][0]["expr"]["expr"]["matching"]["card"], "many-to-many");
    }
}
