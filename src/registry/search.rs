//! Looking for images by a word: the Hub's search, which others have too, or else the list of all repositories.

use serde::Deserialize;
use ureq::http::Method;

use super::client::{Call, Client, Target};
use super::url::escape;
use super::{HUB, Result};

const LIMIT: u64 = 16 << 20;
/// The most that the Hub gives at once.
const PAGE: usize = 100;

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Hit {
    pub name: String,
    pub description: Option<String>,
    pub star_count: u64,
    pub is_official: bool,
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Hits {
    #[serde(default)]
    results: Vec<Hit>,
}

#[derive(Deserialize)]
struct Catalog {
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

impl Client {
    /// At most `limit` repositories for the word.
    pub fn search(&self, term: &str, limit: usize) -> Result<Vec<Hit>> {
        if self.host() != HUB {
            match self.search_catalog(term, limit) {
                Err(error) if error.is_absence() || error.wants_login().is_some() => {
                    return self.search_index(term, limit).map_err(|_| error);
                }
                searched => return searched,
            }
        }
        self.search_index(term, limit)
    }

    fn search_index(&self, term: &str, limit: usize) -> Result<Vec<Hit>> {
        let path = format!("/v1/search?q={}&n={}", escape(term), limit.min(PAGE));
        let target = match self.host() {
            HUB => {
                let uri = format!("https://index.docker.io{path}").parse();
                Target::Whole(uri.map_err(|_| self.malformed("a term that can't be asked for"))?)
            }
            _ => Target::Path(path),
        };
        let mut call = Call::new(Method::GET, target, "");
        let answer = self.ask_patiently(&mut call)?.expect(&[200], || "search".to_owned())?;
        let text = answer.read(LIMIT, "a list")?;
        let hits: Hits = serde_json::from_slice(&text).map_err(|_| self.malformed("a list that is none"))?;
        Ok(hits.results.into_iter().take(limit).collect())
    }

    fn search_catalog(&self, term: &str, limit: usize) -> Result<Vec<Hit>> {
        let what = || "list of repositories".to_owned();
        let pages: Vec<Catalog> = self.pages("/v2/_catalog?n=1000".to_owned(), "registry:catalog:*", what)?;
        let all = pages.into_iter().flat_map(|page| page.repositories.unwrap_or_default());
        let found = all.filter(|name| name.contains(term)).take(limit);
        Ok(found.map(|name| Hit { name, ..Hit::default() }).collect())
    }
}
