//! Where names are bound.

use crate::template::Scope;
use crate::template::value::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Names that statements bind; the outermost frame reaches the variables.
pub(crate) struct Frame {
    pub(super) names: RefCell<HashMap<Arc<str>, Value>>,
    parent: Option<Rc<Frame>>,
    pub(super) scope: Option<Arc<dyn Scope>>,
    /// Lists and dicts of the scope this template has used: what `append` did to one stays for the rest of it.
    pub(super) reached: RefCell<HashMap<Arc<str>, Value>>,
}

impl Frame {
    pub fn root(scope: Option<Arc<dyn Scope>>) -> Rc<Frame> {
        Rc::new(Frame {
            names: RefCell::default(),
            parent: None,
            scope,
            reached: RefCell::default(),
        })
    }

    pub(super) fn child(parent: &Rc<Frame>) -> Rc<Frame> {
        Rc::new(Frame {
            names: RefCell::default(),
            parent: Some(parent.clone()),
            scope: None,
            reached: RefCell::default(),
        })
    }

    pub fn set(&self, name: Arc<str>, value: Value) {
        self.names.borrow_mut().insert(name, value);
    }

    pub(super) fn outermost(self: &Rc<Self>) -> Rc<Frame> {
        let mut frame = self.clone();
        while let Some(parent) = frame.parent.clone() {
            frame = parent;
        }
        frame
    }

    pub(super) fn local(self: &Rc<Self>, name: &str) -> Option<Value> {
        let mut frame = Some(self);
        while let Some(f) = frame {
            if let Some(v) = f.names.borrow().get(name) {
                return Some(v.clone());
            }
            frame = f.parent.as_ref();
        }
        None
    }

    pub(super) fn scope(self: &Rc<Self>) -> Option<Arc<dyn Scope>> {
        self.outermost().scope.clone()
    }
}
