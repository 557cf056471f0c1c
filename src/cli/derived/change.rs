//! `--change`: a Dockerfile instruction that edits how an image is run.

use std::collections::BTreeMap;

use crate::oci::{Healthcheck, RunConfig};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("change {instruction:?}: {problem}")]
pub struct InvalidChange {
    instruction: String,
    problem: String,
}

/// Applies one instruction.
pub fn apply(config: &mut RunConfig, instruction: &str) -> Result<(), InvalidChange> {
    change(config, instruction.trim())
        .map_err(|problem| InvalidChange { instruction: instruction.to_owned(), problem })
}

fn change(config: &mut RunConfig, instruction: &str) -> Result<(), String> {
    let (word, rest) = instruction.split_once(char::is_whitespace).unwrap_or((instruction, ""));
    let rest = rest.trim();
    if rest.is_empty() {
        return Err("it says nothing".to_owned());
    }
    match word.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = command(rest),
        "ENTRYPOINT" => config.entrypoint = command(rest),
        "ENV" => pairs(rest)?.into_iter().for_each(|(key, value)| set_env(&mut config.env, &key, &value)),
        "LABEL" => config.labels.extend(pairs(rest)?.into_iter().collect::<BTreeMap<_, _>>()),
        "EXPOSE" => {
            for port in words(rest)? {
                config.exposed_ports.insert(port_of(&port)?);
            }
        }
        "VOLUME" => config.volumes.extend(words_of(rest)?),
        "USER" => config.user = rest.to_owned(),
        "WORKDIR" => config.working_dir = working_directory(&config.working_dir, rest),
        "STOPSIGNAL" => config.stop_signal = Some(rest.to_owned()),
        "SHELL" => config.shell = json_words(rest).ok_or("SHELL wants a JSON list")?,
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        other => return Err(format!("{other} is not supported here")),
    }
    Ok(())
}

/// A JSON list is run as it is, anything else by a shell.
pub fn command(text: &str) -> Vec<String> {
    json_words(text).unwrap_or_else(|| ["/bin/sh", "-c", text].map(str::to_owned).to_vec())
}

/// A JSON list, or words as a shell splits them.
pub fn words_of(text: &str) -> Result<Vec<String>, String> {
    json_words(text).map_or_else(|| words(text), Ok)
}

fn json_words(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

pub fn set_env(env: &mut Vec<String>, key: &str, value: &str) {
    let new = format!("{key}={value}");
    let is_key = |entry: &&mut String| entry.split('=').next() == Some(key);
    match env.iter_mut().find(is_key) {
        Some(entry) => *entry = new,
        None => env.push(new),
    }
}

/// `A=1 B="2 3"`, or the old `A 1 2 3`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let words = words(text)?;
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (key, value) = text.split_once(char::is_whitespace).ok_or("a name has no value")?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{word:?} is not NAME=VALUE")),
    };
    words.iter().map(pair).collect()
}

/// Words as a shell splits them, with quotes and backslashes.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (_, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(letters.next()),
            (_, None) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

pub fn port_of(text: &str) -> Result<String, String> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let in_range = port.splitn(2, '-').all(|end| end.parse::<u16>().is_ok_and(|number| number > 0));
    if !in_range || !["tcp", "udp", "sctp"].contains(&protocol) {
        return Err(format!("{text:?} is no port"));
    }
    Ok(format!("{port}/{protocol}"))
}

pub fn working_directory(before: &str, text: &str) -> String {
    if text.starts_with('/') {
        return text.to_owned();
    }
    format!("{}/{text}", before.trim_end_matches('/'))
}

/// `NONE`, or `[--interval=30s ...] CMD ...`.
fn healthcheck(text: &str) -> Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, behind) = option.split_once(char::is_whitespace).ok_or("there is no command")?;
        let (name, value) = option.split_once('=').ok_or_else(|| format!("--{option} has no value"))?;
        match name {
            "interval" => check.interval = Some(nanoseconds(value)?),
            "timeout" => check.timeout = Some(nanoseconds(value)?),
            "start-period" => check.start_period = Some(nanoseconds(value)?),
            "start-interval" => check.start_interval = Some(nanoseconds(value)?),
            "retries" => check.retries = Some(value.parse().map_err(|_| format!("{value:?} is no number"))?),
            _ => return Err(format!("--{name} is not known")),
        }
        rest = behind.trim_start();
    }
    check.test = match rest.split_once(char::is_whitespace) {
        None if rest.eq_ignore_ascii_case("none") => vec!["NONE".to_owned()],
        Some((cmd, command)) if cmd.eq_ignore_ascii_case("cmd") => match json_words(command) {
            Some(words) => ["CMD".to_owned()].into_iter().chain(words).collect(),
            None => vec!["CMD-SHELL".to_owned(), command.trim().to_owned()],
        },
        _ => return Err("it is neither NONE nor CMD".to_owned()),
    };
    Ok(check)
}

fn nanoseconds(text: &str) -> Result<i64, String> {
    let duration = text.parse::<jiff::SignedDuration>().map_err(|_| format!("{text:?} is no duration"))?;
    i64::try_from(duration.as_nanos()).map_err(|_| format!("{text:?} is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(instructions: &[&str]) -> String {
        let mut config = RunConfig::default();
        for instruction in instructions {
            if let Err(error) = apply(&mut config, instruction) {
                return error.to_string();
            }
        }
        serde_json::to_string(&config).unwrap()
    }

    #[test]
    fn instructions_edit_the_config() {
        let config = applied(&[
            r#"CMD ["sh", "-l"]"#,
            "entrypoint exec x",
            r#"ENV A=1 B="2 3""#,
            "ENV A 5 6",
            "LABEL a.b=c",
            "EXPOSE 80 53/udp",
            r#"VOLUME ["/data"]"#,
            "USER me:us",
            "WORKDIR /srv",
            "WORKDIR www",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK --interval=30s --retries=3 CMD curl x",
        ]);
        assert_eq!(
            config,
            concat!(
                r#"{"User":"me:us","ExposedPorts":{"53/udp":{},"80/tcp":{}},"Env":["A=5 6","B=2 3"],"#,
                r#""Entrypoint":["/bin/sh","-c","exec x"],"Cmd":["sh","-l"],"#,
                r#""Healthcheck":{"Test":["CMD-SHELL","curl x"],"Interval":30000000000,"Retries":3},"#,
                r#""Volumes":{"/data":{}},"WorkingDir":"/srv/www","Labels":{"a.b":"c"},"StopSignal":"SIGINT"}"#
            )
        );
    }

    #[test]
    fn what_is_no_instruction_is_refused_by_name() {
        assert_eq!(applied(&["RUN ls"]), r#"change "RUN ls": RUN is not supported here"#);
        assert_eq!(applied(&["CMD"]), r#"change "CMD": it says nothing"#);
        assert_eq!(applied(&["EXPOSE 99999"]), r#"change "EXPOSE 99999": "99999" is no port"#);
        assert_eq!(applied(&["ENV A=\"1"]), r#"change "ENV A=\"1": a quote is not closed"#);
    }
}
