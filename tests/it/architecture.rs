//! The house rules that a compiler does not hold: floors, and the one home of each kind of thing. docs/ARCHITECTURE.md
//! says why.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module imports only from strictly lower floors.
const FLOORS: &[(&str, u8)] = &[
    ("oci", 0),
    ("sys", 0),
    ("stats", 1),
    ("store", 1),
    ("layer", 2),
    ("image", 3),
    ("archive", 4),
    ("registry", 4),
    ("lower", 4),
    ("union", 5),
    ("fuse", 6),
    ("mount", 7),
    ("container", 8),
    ("bench", 8),
    ("cli", 9),
];

const LONGEST_FILE: usize = 800;

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The room the file is in; none for lib.rs and main.rs.
    fn module(&self) -> Option<String> {
        let inside = self.path.strip_prefix(root().join("src")).unwrap();
        let first = inside.components().next()?.as_os_str().to_str()?;
        (!first.ends_with(".rs")).then(|| first.to_owned())
    }

    /// Lines of code with their numbers; what stands in comments and strings of a line is left out.
    fn code(&self) -> impl Iterator<Item = (usize, String)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, without_strings(line)))
    }

    /// Says of each code line that `holds` where it is.
    fn lines_where(&self, holds: impl Fn(&str) -> bool) -> Vec<String> {
        let at = |line: usize| format!("{}:{line}", self.path.strip_prefix(root()).unwrap().display());
        self.code().filter(|(_, code)| holds(code)).map(|(line, _)| at(line)).collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut directories = vec![root().join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(Source { text: fs::read_to_string(&path).unwrap(), path });
            }
        }
    }
    assert!(sources.len() > FLOORS.len());
    sources
}

fn without_strings(line: &str) -> String {
    let line = line.split("//").next().unwrap_or_default();
    line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

/// The words right behind each `crate::`, also those of `use crate::{a, b::c}`.
fn imports(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(top_level(list).into_iter().map(|item| word(item.trim()))),
            None => found.extend([word(rest)]),
        }
    }
    found
}

/// The items of a brace list, up to its closing brace.
fn top_level(list: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut start = 0;
    let mut items = Vec::new();
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

#[test]
fn a_module_imports_only_from_lower_floors() {
    let mut broken = Vec::new();
    for source in sources() {
        let Some(module) = source.module() else { continue };
        let own = floor(&module).unwrap_or_else(|| panic!("src/{module} has no floor"));
        let code: String = source.code().map(|(_, line)| line + "\n").collect();
        for import in imports(&code) {
            let below = floor(&import).is_some_and(|floor| floor < own);
            if import != module && !below {
                broken.push(format!("{} imports {import}", source.path.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn each_kind_of_thing_has_one_home() {
    let homes: [(&str, &[&str]); 4] = [
        ("sys", &["unsafe fn", "unsafe {", "unsafe impl", "unsafe extern"]),
        ("fuse", &["fuser::", "use fuser;"]),
        ("registry", &["ureq::", "rustls::", "TcpStream"]),
        ("cli", &["println!(", "print!(", "anyhow::"]),
    ];
    let mut broken = Vec::new();
    for source in sources() {
        let module = source.module().unwrap_or_default();
        for (home, words) in homes {
            if module != home {
                broken.extend(source.lines_where(|code| words.iter().any(|word| code.contains(word))));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn no_file_is_too_long_to_read_and_each_opens_with_its_promise() {
    let mut broken = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines >= LONGEST_FILE {
            broken.push(format!("{} has {lines} lines", source.path.display()));
        }
        let is_test = source.path.file_name().is_some_and(|name| name == "tests.rs");
        let is_main = source.path.ends_with("src/main.rs");
        if !is_test && !is_main && !source.text.starts_with("//! ") {
            broken.push(format!("{} does not say what it promises", source.path.display()));
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn the_reader_of_imports_sees_lists_and_paths() {
    let code = "use crate::{oci::{self, Digest}, sys};\npub(crate) fn x() { crate::store::y() }\nmycrate::no";
    let expected = ["oci", "store", "sys"].map(str::to_owned);
    assert_eq!(imports(code), BTreeSet::from(expected));
}
