//! Patterns of names, as Go's `path.Match` reads them: `*` and `?` stay within a `/`-separated part, `[a-z]`, `\`.

pub fn matches(pattern: &str, name: &str) -> bool {
    let parts = |text: &str| text.split('/').map(|part| part.chars().collect()).collect::<Vec<Vec<char>>>();
    let (patterns, names) = (parts(pattern), parts(name));
    patterns.len() == names.len() && patterns.iter().zip(&names).all(|(pattern, name)| part(pattern, name))
}

/// One part. On a mismatch the last star takes one letter more; an earlier one could not do better.
fn part(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&'*') {
            star = Some((p + 1, n));
            p += 1;
            continue;
        }
        if p == pattern.len() && n == name.len() {
            return true;
        }
        match name.get(n).and_then(|letter| one(&pattern[p..], *letter)) {
            Some(used) => (p, n) = (p + used, n + 1),
            None => match star {
                Some((after, from)) if from < name.len() => {
                    star = Some((after, from + 1));
                    (p, n) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
}

/// How much of the pattern matches the one letter.
fn one(pattern: &[char], letter: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', rest @ ..] => class(rest, letter).map(|used| used + 1),
        ['\\', escaped, ..] => (*escaped == letter).then_some(2),
        [plain, ..] => (*plain == letter).then_some(1),
        [] => None,
    }
}

fn class(rest: &[char], letter: char) -> Option<usize> {
    let end = rest.iter().skip(1).position(|c| *c == ']')? + 1;
    let (inside, inverted) = match &rest[..end] {
        ['^', inside @ ..] => (inside, true),
        inside => (inside, false),
    };
    let mut found = false;
    let mut at = 0;
    while at < inside.len() {
        match &inside[at..] {
            [low, '-', high, ..] => {
                found |= (*low..=*high).contains(&letter);
                at += 3;
            }
            [single, ..] => {
                found |= *single == letter;
                at += 1;
            }
            [] => break,
        }
    }
    (found != inverted).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_its_part() {
        for (pattern, name, expected) in [
            ("alpine", "alpine", true),
            ("alp*", "alpine:3.20", true),
            ("*", "library/alpine", false),
            ("*/*", "library/alpine", true),
            ("a?pine:3.[0-2]0", "alpine:3.20", true),
            ("a?pine:3.[^0-2]0", "alpine:3.20", false),
            ("*ab*ab", "xababab", true),
            (r"\*", "*", true),
            ("", "", true),
            ("[", "[", false),
            ("[]", "]", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
