//! Go's text/template, as far as `--format` of docker uses it: fields, variables, pipelines, `if`, `with`, `range`,
//! Go's own functions, and docker's `json split join title lower upper pad truncate`.

mod evaluate;
mod functions;
mod parse;

use serde_json::Value;

/// A parsed template.
#[derive(Debug, PartialEq)]
pub struct Template(Vec<Node>);

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Error {
    #[error("template {template:?}: {problem}")]
    Parse { template: String, problem: String },
    #[error("template: {0}")]
    Evaluate(String),
}

#[derive(Debug, PartialEq)]
enum Node {
    Text(String),
    /// A pipeline whose value is printed, or a declaration, which prints nothing.
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
}

#[derive(Debug, PartialEq)]
struct Branch {
    condition: Pipeline,
    then: Vec<Node>,
    otherwise: Vec<Node>,
}

#[derive(Debug, PartialEq)]
struct Pipeline {
    /// `$x :=` or `$i, $x :=`; empty for none.
    variables: Vec<String>,
    assigns: bool,
    commands: Vec<Command>,
}

impl Pipeline {
    /// The path of the field that it is, if it is no more than that.
    fn field(&self) -> Option<&[String]> {
        match self.commands.as_slice() {
            [Command(operands)] => match operands.as_slice() {
                [Operand::Field(path) | Operand::Variable(_, path)] => Some(path),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A function with its arguments, or a single operand.
#[derive(Debug, PartialEq)]
struct Command(Vec<Operand>);

#[derive(Debug, PartialEq)]
enum Operand {
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Function(String),
    Literal(Value),
    Parenthesis(Box<Pipeline>, Vec<String>),
}

impl Template {
    /// Text outside `{{ }}` may hold `\t` and `\n`, as docker allows it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        parse::parse(&text)
            .map(Template)
            .map_err(|problem| Error::Parse { template: text.chars().take(200).collect(), problem })
    }

    pub fn render(&self, data: &Value) -> Result<String, Error> {
        evaluate::render(&self.0, data).map_err(Error::Evaluate)
    }
}

#[cfg(test)]
mod tests;
