//! The functions of Go's templates and docker's additions. Each takes and gives values.

use std::cmp::Ordering;

use serde_json::Value;

type Result<T> = std::result::Result<T, String>;

pub fn call(name: &str, arguments: &[Value]) -> Result<Value> {
    match name {
        "and" | "or" | "not" | "eq" | "ne" | "lt" | "le" | "gt" | "ge" => logic(name, arguments),
        "print" | "println" | "printf" | "json" => print(name, arguments),
        "split" | "join" | "title" | "lower" | "upper" | "pad" | "truncate" => text(name, arguments),
        "len" => length(one(name, arguments)?),
        "index" => index(arguments),
        "slice" => slice(arguments),
        _ => Err(format!("function {name:?} not defined")),
    }
}

/// How a value is printed: Go's `%v`.
pub fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(" "))
        }
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| match value {
                // A member of a set, such as of ports and volumes.
                Value::Object(inner) if inner.is_empty() => format!("{key}:{{}}"),
                _ => format!("{key}:{}", printed(value)),
            };
            let mut fields: Vec<String> = fields.iter().map(field).collect();
            fields.sort();
            format!("map[{}]", fields.join(" "))
        }
    }
}

/// Whether a value is not the empty one of its type.
pub fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn logic(name: &str, arguments: &[Value]) -> Result<Value> {
    let (first, rest) = arguments.split_first().ok_or_else(|| too_few(name))?;
    match name {
        "not" => Ok((!truth(one(name, arguments)?)).into()),
        "and" => {
            Ok(arguments.iter().find(|value| !truth(value)).or(arguments.last()).unwrap_or(first).clone())
        }
        "or" => Ok(arguments.iter().find(|value| truth(value)).or(arguments.last()).unwrap_or(first).clone()),
        _ if rest.is_empty() => Err(too_few(name)),
        "eq" => Ok(rest.iter().any(|other| equal(first, other)).into()),
        "ne" => Ok((!equal(first, &rest[0])).into()),
        _ => {
            let order = compare(first, &rest[0])?;
            let holds = match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            };
            Ok(holds.into())
        }
    }
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn compare(one: &Value, other: &Value) -> Result<Ordering> {
    let order = match (one, other) {
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => one.as_f64().zip(other.as_f64()).and_then(|(one, other)| one.partial_cmp(&other)),
    };
    order.ok_or_else(|| format!("can't compare {} and {}", printed(one), printed(other)))
}

fn print(name: &str, arguments: &[Value]) -> Result<Value> {
    let joined = || arguments.iter().map(printed).collect::<Vec<_>>().join(" ");
    match name {
        "json" => {
            serde_json::to_string(one(name, arguments)?).map(Value::from).map_err(|error| error.to_string())
        }
        "print" => Ok(joined().into()),
        "println" => Ok(format!("{}\n", joined()).into()),
        _ => {
            let (format, values) = arguments.split_first().ok_or_else(|| too_few(name))?;
            printf(string(name, format)?, values).map(Value::from)
        }
    }
}

/// `%v %s %d %q %%`, with a width and `-`.
fn printf(format: &str, values: &[Value]) -> Result<String> {
    let mut values = values.iter();
    let mut output = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        output.push_str(&rest[..at]);
        let spec = &rest[at + 1..];
        let end = spec.find(|letter: char| letter != '-' && !letter.is_ascii_digit());
        let end = end.ok_or("printf: a format ends after %")?;
        let verb = spec[end..].chars().next().unwrap_or('%');
        rest = &spec[end + verb.len_utf8()..];
        let text = match verb {
            '%' => "%".to_owned(),
            'v' | 's' | 'd' | 't' | 'g' | 'f' => printed(next(&mut values, verb)?),
            'q' => Value::from(printed(next(&mut values, verb)?)).to_string(),
            other => return Err(format!("printf: %{other} is not supported")),
        };
        output.push_str(&padded(&text, &spec[..end])?);
    }
    output.push_str(rest);
    Ok(output)
}

fn next<'a>(values: &mut impl Iterator<Item = &'a Value>, verb: char) -> Result<&'a Value> {
    values.next().ok_or_else(|| format!("printf: no value for %{verb}"))
}

fn padded(text: &str, flags: &str) -> Result<String> {
    let (left, width) = match flags.strip_prefix('-') {
        Some(width) => (true, width),
        None => (false, flags),
    };
    if width.is_empty() {
        return Ok(text.to_owned());
    }
    let width: u16 = width.parse().map_err(|_| format!("printf: bad width {width:?}"))?;
    let width = usize::from(width);
    Ok(if left { format!("{text:<width$}") } else { format!("{text:>width$}") })
}

fn text(name: &str, arguments: &[Value]) -> Result<Value> {
    match (name, arguments) {
        ("lower", [value]) => Ok(string(name, value)?.to_lowercase().into()),
        ("upper", [value]) => Ok(string(name, value)?.to_uppercase().into()),
        ("title", [value]) => Ok(title(string(name, value)?).into()),
        ("split", [value, separator]) => {
            let parts = string(name, value)?.split(string(name, separator)?);
            Ok(parts.map(Value::from).collect::<Vec<_>>().into())
        }
        ("join", [Value::Null, _]) => Ok("".into()),
        ("join", [Value::Array(items), separator]) => {
            let items: Vec<String> = items.iter().map(printed).collect();
            Ok(items.join(string(name, separator)?).into())
        }
        ("pad", [value, before, after]) => {
            let text = string(name, value)?;
            if text.is_empty() {
                return Ok("".into());
            }
            let spaces = |count| Ok::<_, String>(" ".repeat(number(name, count)?.min(1000)));
            Ok(format!("{}{text}{}", spaces(before)?, spaces(after)?).into())
        }
        ("truncate", [value, length]) => {
            Ok(string(name, value)?.chars().take(number(name, length)?).collect::<String>().into())
        }
        _ => Err(format!("wrong arguments for {name}")),
    }
}

fn title(text: &str) -> String {
    let mut starts = true;
    text.chars()
        .flat_map(|letter| {
            let upper = std::mem::replace(&mut starts, !letter.is_alphanumeric());
            if upper { letter.to_uppercase().collect::<Vec<_>>() } else { vec![letter] }
        })
        .collect()
}

fn length(value: &Value) -> Result<Value> {
    match value {
        Value::Null => Ok(0.into()),
        Value::String(text) => Ok(text.len().into()),
        Value::Array(items) => Ok(items.len().into()),
        Value::Object(fields) => Ok(fields.len().into()),
        other => Err(format!("len of {}", printed(other))),
    }
}

fn index(arguments: &[Value]) -> Result<Value> {
    let (value, keys) = arguments.split_first().ok_or_else(|| too_few("index"))?;
    let mut at = value;
    for key in keys {
        at = match (at, key) {
            (Value::Null, _) => return Ok(Value::Null),
            (Value::Object(fields), Value::String(key)) => fields.get(key).unwrap_or(&Value::Null),
            (Value::Array(items), Value::Number(_)) => {
                let position = number("index", key)?;
                items.get(position).ok_or_else(|| format!("index out of range: {position}"))?
            }
            _ => return Err(format!("can't index {} with {}", printed(at), printed(key))),
        };
    }
    Ok(at.clone())
}

fn slice(arguments: &[Value]) -> Result<Value> {
    let (value, bounds) = arguments.split_first().ok_or_else(|| too_few("slice"))?;
    let bound = |at: usize| bounds.get(at).map(|bound| number("slice", bound)).transpose();
    let start = bound(0)?.unwrap_or(0);
    let end = bound(1)?;
    let outside = || format!("slice out of range of {}", printed(value));
    match value {
        Value::String(text) => {
            text.get(start..end.unwrap_or(text.len())).map(Value::from).ok_or_else(outside)
        }
        Value::Array(items) => {
            items.get(start..end.unwrap_or(items.len())).map(Value::from).ok_or_else(outside)
        }
        _ => Err(format!("can't slice {}", printed(value))),
    }
}

fn one<'a>(name: &str, arguments: &'a [Value]) -> Result<&'a Value> {
    match arguments {
        [value] => Ok(value),
        _ => Err(format!("wrong number of arguments for {name}: want 1, got {}", arguments.len())),
    }
}

fn string<'a>(name: &str, value: &'a Value) -> Result<&'a str> {
    match value {
        Value::Null => Ok(""),
        _ => value.as_str().ok_or_else(|| format!("{name} wants text, and {} is none", printed(value))),
    }
}

fn number(name: &str, value: &Value) -> Result<usize> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("{name} wants a number, and {} is none", printed(value)))
}

fn too_few(name: &str) -> String {
    format!("too few arguments for {name}")
}
