//! The handle's methods for what was asked, and how often.

use std::collections::BTreeMap;

use super::Rds;
use super::faults::{ANY, Where};
use super::state::Request;

/// How often an instance was asked for its logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Listings that were answered: their first pages.
    pub listings: usize,
    /// Pages of listings that were answered, first ones included.
    pub pages: usize,
    /// Downloads that were answered, though the body may have broken off.
    pub downloads: usize,
    /// Listings and downloads that were refused or never answered.
    pub refused: usize,
}

impl Calls {
    fn add(&mut self, request: &Request) {
        match &request.place {
            _ if request.status != 200 => self.refused += 1,
            Some(Where::Listing(_)) => {
                self.pages += 1;
                self.listings += usize::from(request.is_first_page());
            }
            Some(Where::Download { .. }) => self.downloads += 1,
            _ => {}
        }
    }
}

impl Rds {
    /// All requests so far, refused ones too, in the order of their answers.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// How many requests went to `at` so far, refused ones too.
    pub fn count(&self, at: &Where) -> usize {
        let places =
            |request: &&Request| request.place.as_ref().is_some_and(|place| at.covers(place));
        self.state().requests.iter().filter(places).count()
    }

    /// How often an instance was asked for its logs so far, or all of them together if [`ANY`].
    pub fn calls(&self, instance: &str) -> Calls {
        let mut calls = Calls::default();
        for request in &self.state().requests {
            if request
                .instance()
                .is_some_and(|asked| instance == ANY || instance == asked)
            {
                calls.add(request);
            }
        }
        calls
    }

    /// How often each instance was asked for its logs so far, by the name asked for.
    pub fn calls_by_instance(&self) -> BTreeMap<String, Calls> {
        let mut calls: BTreeMap<String, Calls> = BTreeMap::new();
        for request in &self.state().requests {
            if let Some(instance) = request.instance() {
                calls.entry(instance.to_owned()).or_default().add(request);
            }
        }
        calls
    }

    /// How many requests there were so far by [`Request::action`], refused ones too.
    pub fn calls_by_action(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for request in &self.state().requests {
            *calls.entry(request.action.clone()).or_default() += 1;
        }
        calls
    }

    /// Starts all counts anew, and forgets all requests so far.
    pub fn forget_calls(&self) {
        self.state().requests.clear();
    }
}
