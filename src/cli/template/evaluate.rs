//! A template's nodes over a value.

use serde_json::Value;

use super::functions::{self, truth};
use super::{Branch, Command, Node, Operand, Pipeline};

type Result<T> = std::result::Result<T, String>;

struct Scope<'a> {
    root: &'a Value,
    output: String,
    variables: Vec<(String, Value)>,
}

pub fn render(nodes: &[Node], data: &Value) -> Result<String> {
    let mut scope =
        Scope { root: data, output: String::new(), variables: vec![("$".to_owned(), data.clone())] };
    scope.nodes(nodes, data)?;
    Ok(scope.output)
}

impl Scope<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<()> {
        let outer = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<()> {
        match node {
            Node::Text(text) => self.output.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    let nothing = pipeline.field().filter(|_| value.is_null()).and_then(empty_of);
                    self.output.push_str(nothing.unwrap_or(&functions::printed(&value)));
                }
            }
            Node::If(branch) => self.choose(branch, dot)?,
            Node::With(branch) => self.with(branch, dot)?,
            Node::Range(branch) => self.range(branch, dot)?,
        }
        Ok(())
    }

    fn choose(&mut self, branch: &Branch, dot: &Value) -> Result<()> {
        let outer = self.variables.len();
        let condition = self.pipeline(&branch.condition, dot)?;
        self.nodes(if truth(&condition) { &branch.then } else { &branch.otherwise }, dot)?;
        self.variables.truncate(outer);
        Ok(())
    }

    fn with(&mut self, branch: &Branch, dot: &Value) -> Result<()> {
        let outer = self.variables.len();
        let value = self.pipeline(&branch.condition, dot)?;
        let taken = truth(&value);
        self.nodes(if taken { &branch.then } else { &branch.otherwise }, if taken { &value } else { dot })?;
        self.variables.truncate(outer);
        Ok(())
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<()> {
        let over = self.commands(&branch.condition, dot)?;
        let items = items(over)?;
        if items.is_empty() {
            return self.nodes(&branch.otherwise, dot);
        }
        for (key, item) in items {
            let outer = self.variables.len();
            match branch.condition.variables.as_slice() {
                [] => {}
                [one] => self.variables.push((one.clone(), item.clone())),
                [index, one, ..] => {
                    self.variables.push((index.clone(), key));
                    self.variables.push((one.clone(), item.clone()));
                }
            }
            self.nodes(&branch.then, &item)?;
            self.variables.truncate(outer);
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            if pipeline.assigns {
                *self.variable(name)? = value.clone();
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, dot, piped)?);
        }
        Ok(piped.unwrap_or(Value::Null))
    }

    fn command(&mut self, command: &Command, dot: &Value, piped: Option<Value>) -> Result<Value> {
        match command.0.as_slice() {
            [Operand::Function(name), arguments @ ..] => {
                let mut values =
                    arguments.iter().map(|each| self.operand(each, dot)).collect::<Result<Vec<_>>>()?;
                values.extend(piped);
                functions::call(name, &values)
            }
            [operand] if piped.is_none() => self.operand(operand, dot),
            _ => Err("can't give arguments to what is no function".to_owned()),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value> {
        match operand {
            Operand::Field(path) => field(dot, path, std::ptr::eq(dot, self.root)),
            Operand::Variable(name, path) => {
                let whole = name == "$";
                let value = self.variable(name)?.clone();
                field(&value, path, whole)
            }
            Operand::Function(name) => functions::call(name, &[]),
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Parenthesis(pipeline, path) => {
                let value = self.pipeline(pipeline, dot)?;
                field(&value, path, false)
            }
        }
    }

    fn variable(&mut self, name: &str) -> Result<&mut Value> {
        let found = self.variables.iter_mut().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value).ok_or_else(|| format!("undefined variable {name:?}"))
    }
}

/// A field of the object itself must exist: a wrong name is a mistake to tell. Deeper ones come from the image
/// (labels, health checks), and are nothing where they are absent.
fn field(value: &Value, path: &[String], whole: bool) -> Result<Value> {
    let mut at = value;
    for (depth, name) in path.iter().enumerate() {
        at = match at {
            Value::Object(fields) => match fields.get(name).or_else(|| fields.get(in_json(name))) {
                Some(field) => field,
                None if whole && depth == 0 => return Err(no_field(name, fields)),
                None => return Ok(Value::Null),
            },
            Value::Null => return Ok(Value::Null),
            _ => return Err(format!("can't evaluate field {name} in {}", functions::printed(at))),
        };
    }
    Ok(at.clone())
}

/// What Go prints of an absent list or map, which docker's types know to be one; the path's end tells.
fn empty_of(path: &[String]) -> Option<&'static str> {
    let (name, above) = path.split_last()?;
    match (name.as_str(), above.last().map(String::as_str)) {
        // The name is whatever somebody called a label.
        (_, Some("Labels")) => None,
        ("Env" | "Cmd" | "Entrypoint" | "OnBuild" | "Shell" | "RepoTags" | "RepoDigests", _) => Some("[]"),
        ("Labels" | "Volumes" | "ExposedPorts", _) => Some("map[]"),
        _ => None,
    }
}

/// Docker's templates know a field also by the name that it has in Go.
fn in_json(name: &str) -> &str {
    if name == "ID" { "Id" } else { name }
}

fn no_field(name: &str, fields: &serde_json::Map<String, Value>) -> String {
    let known: Vec<&str> = fields.keys().map(String::as_str).collect();
    format!("no field {name:?}; there are {}", known.join(" "))
}

fn items(over: Value) -> Result<Vec<(Value, Value)>> {
    match over {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            Ok(items.into_iter().enumerate().map(|(at, item)| (at.into(), item)).collect())
        }
        Value::Object(fields) => {
            let mut items: Vec<_> = fields.into_iter().collect();
            items.sort_by(|(one, _), (other, _)| one.cmp(other));
            Ok(items.into_iter().map(|(key, item)| (key.into(), item)).collect())
        }
        other => Err(format!("range can't iterate over {}", functions::printed(&other))),
    }
}
