//! A list of mount options as text: words with commas between them. `\,` and `\\` stand for the character, `\:` for a
//! colon inside a path of a list, and quotes keep commas too, as in `context="a,b"`.

/// The words, each still with its escapes.
pub fn split(text: &str) -> Vec<&str> {
    split_at(text, ',')
}

/// The paths of a list such as `lowerdir=`, without their escapes.
pub fn paths(value: &str) -> Vec<String> {
    split_at(value, ':').into_iter().map(plain).collect()
}

fn split_at(text: &str, separator: char) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut escaped, mut quoted) = (0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => {
                words.push(&text[start..at]);
                start = at + separator.len_utf8();
            }
            _ => {}
        }
    }
    words.push(&text[start..]);
    words
}

/// A value as it is meant: without escapes, and without the quotes around it.
pub fn plain(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_part_words_unless_they_are_escaped_or_quoted() {
        let words = split(r#"lowerdir=a\,b:c,context="u:r,t:s0",ro,x=\\,y"#);
        assert_eq!(words, [r"lowerdir=a\,b:c", r#"context="u:r,t:s0""#, "ro", r"x=\\", "y"]);
    }

    #[test]
    fn colons_part_paths_unless_they_are_escaped() {
        assert_eq!(paths(r"a\:b:c\,d:/e\\"), ["a:b", "c,d", r"/e\"]);
    }
}
