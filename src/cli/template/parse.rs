//! A template's text into its nodes. Nesting is bounded: a template comes from a command line, and may be hostile there too.

use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::Value;

use super::{Branch, Command, Node, Operand, Pipeline};

const DEEPEST: usize = 100;

type Result<T> = std::result::Result<T, String>;

/// The template cut at its delimiters.
enum Piece {
    Text(String),
    Action(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// `.a.b`, or `.` alone; `attached` where it follows an operand without a space.
    Field {
        path: Vec<String>,
        attached: bool,
    },
    Variable(String),
    Word(String),
    Literal(Value),
    Pipe,
    Open,
    Close,
    Declare,
    Assign,
    Comma,
}

/// How a list of nodes ended.
enum Stop {
    Input,
    End,
    Else(Vec<Token>),
}

struct Parser {
    pieces: IntoIter<Piece>,
    depth: usize,
}

pub fn parse(text: &str) -> Result<Vec<Node>> {
    let mut parser = Parser { pieces: pieces(text)?.into_iter(), depth: 0 };
    match parser.nodes()? {
        (nodes, Stop::Input) => Ok(nodes),
        (_, Stop::End) => Err("unexpected {{end}}".to_owned()),
        (_, Stop::Else(_)) => Err("unexpected {{else}}".to_owned()),
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim = false;
    while let Some(at) = rest.find("{{") {
        let inside = &rest[at + 2..];
        let trims_before = inside.starts_with("- ");
        push_text(&mut pieces, &rest[..at], trim, trims_before);
        let inside = if trims_before { &inside[1..] } else { inside };
        let length = action_length(inside)?;
        let action = &inside[..length];
        rest = &inside[length + 2..];
        trim = action.ends_with(" -");
        let action = if trim { &action[..action.len() - 1] } else { action };
        if !(action.trim().starts_with("/*") && action.trim().ends_with("*/")) {
            pieces.push(Piece::Action(tokens(action)?));
        }
    }
    push_text(&mut pieces, rest, trim, false);
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trim_start: bool, trim_end: bool) {
    let text = if trim_start { text.trim_start() } else { text };
    let text = if trim_end { text.trim_end() } else { text };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// How far `}}` is, not counting one inside a quoted string.
fn action_length(inside: &str) -> Result<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, letter) in inside.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if letter == '\\' => escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if letter == '"' || letter == '`' => quote = Some(letter),
            None if inside[at..].starts_with("}}") => return Ok(at),
            None => {}
        }
    }
    Err("unclosed action".to_owned())
}

fn tokens(action: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = action;
    loop {
        let trimmed = rest.trim_start();
        let attached = trimmed.len() == rest.len() && !tokens.is_empty();
        let Some(first) = trimmed.chars().next() else { return Ok(tokens) };
        let (token, length) = token(trimmed, first, attached)?;
        tokens.push(token);
        rest = &trimmed[length..];
    }
}

fn token(text: &str, first: char, attached: bool) -> Result<(Token, usize)> {
    match first {
        '|' => Ok((Token::Pipe, 1)),
        '(' => Ok((Token::Open, 1)),
        ')' => Ok((Token::Close, 1)),
        ',' => Ok((Token::Comma, 1)),
        '=' => Ok((Token::Assign, 1)),
        ':' if text.starts_with(":=") => Ok((Token::Declare, 2)),
        '"' => quoted(text),
        '`' => raw(text),
        '.' => Ok(field(text, attached)),
        '$' => {
            let length = 1 + word_length(&text[1..]);
            Ok((Token::Variable(text[..length].to_owned()), length))
        }
        '-' | '+' | '0'..='9' => number(text),
        letter if letter.is_alphabetic() || letter == '_' => {
            let length = word_length(text);
            Ok((word(&text[..length]), length))
        }
        other => Err(format!("unexpected {other:?}")),
    }
}

fn word_length(text: &str) -> usize {
    text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len())
}

fn word(word: &str) -> Token {
    match word {
        "true" => Token::Literal(Value::Bool(true)),
        "false" => Token::Literal(Value::Bool(false)),
        "nil" => Token::Literal(Value::Null),
        _ => Token::Word(word.to_owned()),
    }
}

fn field(text: &str, attached: bool) -> (Token, usize) {
    let mut path = Vec::new();
    let mut at = 0;
    while text[at..].starts_with('.') {
        let length = word_length(&text[at + 1..]);
        if length == 0 {
            // `.` alone; a dot behind a name belongs to nothing and is an error where it is read next.
            at += usize::from(at == 0);
            break;
        }
        path.push(text[at + 1..at + 1 + length].to_owned());
        at += 1 + length;
    }
    (Token::Field { path, attached }, at.max(1))
}

fn number(text: &str) -> Result<(Token, usize)> {
    let digits = |letter: char| !letter.is_ascii_alphanumeric() && letter != '.';
    let length = text[1..].find(digits).map_or(text.len(), |at| at + 1);
    let digits = text[..length].trim_start_matches('+');
    let value: Value = serde_json::from_str(digits).map_err(|_| format!("bad number {digits:?}"))?;
    Ok((Token::Literal(value), length))
}

fn quoted(text: &str) -> Result<(Token, usize)> {
    let mut letters = text.char_indices().skip(1);
    let mut value = String::new();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((Token::Literal(Value::String(value)), at + 1)),
            '\\' => match letters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, other @ ('"' | '\\'))) => value.push(other),
                _ => return Err(format!("unknown escape in {text:?}")),
            },
            other => value.push(other),
        }
    }
    Err("unterminated quoted string".to_owned())
}

fn raw(text: &str) -> Result<(Token, usize)> {
    let end = text[1..].find('`').ok_or("unterminated raw string")?;
    Ok((Token::Literal(Value::String(text[1..=end].to_owned())), end + 2))
}

impl Parser {
    fn nodes(&mut self) -> Result<(Vec<Node>, Stop)> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("nested deeper than {DEEPEST}"));
        }
        let mut nodes = Vec::new();
        let end = loop {
            match self.pieces.next() {
                None => break Stop::Input,
                Some(Piece::Text(text)) => nodes.push(Node::Text(text)),
                Some(Piece::Action(tokens)) => match self.action(tokens)? {
                    Ok(node) => nodes.push(node),
                    Err(end) => break end,
                },
            }
        };
        self.depth -= 1;
        Ok((nodes, end))
    }

    fn action(&mut self, tokens: Vec<Token>) -> Result<std::result::Result<Node, Stop>> {
        let Some(Token::Word(keyword)) = tokens.first() else {
            return Ok(Ok(Node::Action(pipeline(tokens)?)));
        };
        let rest = || tokens[1..].to_vec();
        Ok(match keyword.as_str() {
            "if" => Ok(Node::If(self.branch(rest())?)),
            "with" => Ok(Node::With(self.branch(rest())?)),
            "range" => Ok(Node::Range(self.branch(rest())?)),
            "end" => Err(Stop::End),
            "else" => Err(Stop::Else(rest())),
            "break" | "continue" | "define" | "template" | "block" => {
                return Err(format!("{{{{{keyword}}}}} is not supported"));
            }
            _ => Ok(Node::Action(pipeline(tokens)?)),
        })
    }

    fn branch(&mut self, condition: Vec<Token>) -> Result<Branch> {
        let condition = pipeline(condition)?;
        let (then, end) = self.nodes()?;
        let otherwise = match end {
            Stop::End => Vec::new(),
            Stop::Input => return Err("unexpected end of the template: {{end}} is missing".to_owned()),
            Stop::Else(tokens) if tokens.is_empty() => match self.nodes()? {
                (nodes, Stop::End) => nodes,
                _ => return Err("expected {{end}} after {{else}}".to_owned()),
            },
            Stop::Else(tokens) => self.else_branch(tokens)?,
        };
        Ok(Branch { condition, then, otherwise })
    }

    /// `{{else if ..}}` and `{{else with ..}}`: a branch of its own, ended by the same `{{end}}`.
    fn else_branch(&mut self, tokens: Vec<Token>) -> Result<Vec<Node>> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("more than {DEEPEST} branches"));
        }
        let node = match self.action(tokens)? {
            Ok(node @ (Node::If(_) | Node::With(_))) => node,
            _ => return Err("expected if or with after else".to_owned()),
        };
        self.depth -= 1;
        Ok(vec![node])
    }
}

fn pipeline(tokens: Vec<Token>) -> Result<Pipeline> {
    let mut tokens = tokens.into_iter().peekable();
    let pipeline = read_pipeline(&mut tokens, 0)?;
    match tokens.next() {
        None => Ok(pipeline),
        Some(token) => Err(format!("unexpected {token:?}")),
    }
}

fn read_pipeline(tokens: &mut Peekable<IntoIter<Token>>, depth: usize) -> Result<Pipeline> {
    if depth > DEEPEST {
        return Err(format!("nested deeper than {DEEPEST}"));
    }
    let (variables, assigns) = declaration(tokens)?;
    let mut commands = vec![command(tokens, depth)?];
    while tokens.next_if_eq(&Token::Pipe).is_some() {
        commands.push(command(tokens, depth)?);
    }
    Ok(Pipeline { variables, assigns, commands })
}

fn declaration(tokens: &mut Peekable<IntoIter<Token>>) -> Result<(Vec<String>, bool)> {
    let ahead: Vec<Token> = tokens.clone().take(4).collect();
    let (names, used, assigns) = match ahead.as_slice() {
        [Token::Variable(name), Token::Declare, ..] => (vec![name.clone()], 2, false),
        [Token::Variable(name), Token::Assign, ..] => (vec![name.clone()], 2, true),
        [Token::Variable(first), Token::Comma, Token::Variable(second), Token::Declare] => {
            (vec![first.clone(), second.clone()], 4, false)
        }
        _ => return Ok((Vec::new(), false)),
    };
    tokens.by_ref().take(used).for_each(drop);
    Ok((names, assigns))
}

fn command(tokens: &mut Peekable<IntoIter<Token>>, depth: usize) -> Result<Command> {
    let mut operands = Vec::new();
    while let Some(token) = tokens.next_if(|token| !matches!(token, Token::Pipe | Token::Close)) {
        operands.push(operand(token, tokens, depth)?);
    }
    if operands.is_empty() {
        return Err("missing value for command".to_owned());
    }
    Ok(Command(operands))
}

fn operand(token: Token, tokens: &mut Peekable<IntoIter<Token>>, depth: usize) -> Result<Operand> {
    match token {
        Token::Field { path, .. } => Ok(Operand::Field(path)),
        Token::Word(name) => Ok(Operand::Function(name)),
        Token::Literal(value) => Ok(Operand::Literal(value)),
        Token::Variable(name) => Ok(Operand::Variable(name, attached_path(tokens))),
        Token::Open => {
            let inner = read_pipeline(tokens, depth + 1)?;
            tokens.next_if_eq(&Token::Close).ok_or("unclosed parenthesis")?;
            Ok(Operand::Parenthesis(Box::new(inner), attached_path(tokens)))
        }
        other => Err(format!("unexpected {other:?}")),
    }
}

/// The `.a.b` right behind `$x` or `)`.
fn attached_path(tokens: &mut Peekable<IntoIter<Token>>) -> Vec<String> {
    match tokens.next_if(|token| matches!(token, Token::Field { attached: true, .. })) {
        Some(Token::Field { path, .. }) => path,
        _ => Vec::new(),
    }
}
