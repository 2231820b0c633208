//! What a module is prepared with where it needs nothing of the controller.

use rmqplay::modules::{ArgError, Prepare};
use rmqplay::template::FileOptions;
use serde_json::Value;
use std::collections::BTreeMap;

pub struct Controller;

impl Prepare for Controller {
    fn file(&self, _: &str) -> Result<(String, Vec<u8>), ArgError> {
        Err(ArgError::task("no file is needed"))
    }
    fn tree(&self, _: &str) -> Result<(String, Vec<String>), ArgError> {
        Err(ArgError::task("no tree is needed"))
    }
    fn template(&self, _: &str, _: &FileOptions, _: &str) -> Result<Vec<u8>, ArgError> {
        Err(ArgError::task("no template is needed"))
    }
    fn now(&self) -> &str {
        "2026-11-22T14:02:11Z"
    }
    fn check_mode(&self) -> bool {
        false
    }
    fn environment(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
    fn variable(&self, _: &str) -> Result<Option<Value>, ArgError> {
        Ok(None)
    }
}
