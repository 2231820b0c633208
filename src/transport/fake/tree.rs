//! The files of a fake host: those of an image, which a thousand hosts share, and what differs from it.

use super::Node;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

/// Path → file.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    image: Arc<BTreeMap<String, Node>>,
    /// `None`: it is gone.
    own: BTreeMap<String, Option<Node>>,
}

impl Tree {
    /// What is there becomes an image that clones share.
    pub fn into_image(self) -> Tree {
        Tree {
            image: Arc::new(self.iter().map(|(path, node)| (path.clone(), node.clone())).collect()),
            own: BTreeMap::new(),
        }
    }

    pub fn get(&self, path: &str) -> Option<&Node> {
        match self.own.get(path) {
            Some(own) => own.as_ref(),
            None => self.image.get(path),
        }
    }

    pub fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        if !self.own.contains_key(path) {
            let node = self.image.get(path)?.clone();
            self.own.insert(path.to_owned(), Some(node));
        }
        self.own.get_mut(path)?.as_mut()
    }

    pub fn contains_key(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    pub fn insert(&mut self, path: String, node: Node) {
        self.own.insert(path, Some(node));
    }

    pub fn remove(&mut self, path: &str) -> Option<Node> {
        let gone = self.get(path).cloned();
        if self.image.contains_key(path) {
            self.own.insert(path.to_owned(), None);
        } else {
            self.own.remove(path);
        }
        gone
    }

    /// In the order of paths.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Node)> {
        self.beginning_with("")
    }

    /// The paths with this beginning, in order.
    pub fn beginning_with(&self, head: &str) -> impl Iterator<Item = (&String, &Node)> {
        let from = (Included(head), Unbounded);
        let both = Both {
            image: self.image.range::<str, _>(from).peekable(),
            own: self.own.range::<str, _>(from).peekable(),
        };
        let head = head.to_owned();
        both.take_while(move |(path, _)| path.starts_with(&head))
    }
}

/// What is in either, the own winning over the image.
struct Both<'a> {
    image: Peekable<Range<'a, String, Node>>,
    own: Peekable<Range<'a, String, Option<Node>>>,
}

impl<'a> Iterator for Both<'a> {
    type Item = (&'a String, &'a Node);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.image.peek(), self.own.peek()) {
                (Some((image, _)), Some((own, _))) => image.cmp(own),
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            if order == Ordering::Less {
                return self.image.next();
            }
            if order == Ordering::Equal {
                self.image.next();
            }
            if let (path, Some(node)) = self.own.next()? {
                return Some((path, node));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A tree over an image is what a map would be.
        #[test]
        fn as_a_map(image in proptest::collection::vec("[a-c]{1,2}", 0..6), steps in proptest::collection::vec(("[a-c]{1,2}", 0..3), 0..12)) {
            let mut tree = Tree::default();
            let mut map = BTreeMap::new();
            for path in image {
                tree.insert(path.clone(), Node::file(""));
                map.insert(path, Node::file(""));
            }
            tree = tree.into_image();
            for (path, step) in steps {
                match step {
                    0 => {
                        tree.insert(path.clone(), Node::directory());
                        map.insert(path, Node::directory());
                    }
                    1 => prop_assert_eq!(tree.remove(&path), map.remove(&path)),
                    _ => {
                        let change = |node: &mut Node| node.mode = 0o600;
                        tree.get_mut(&path).map(change);
                        map.get_mut(&path).map(change);
                    }
                }
                prop_assert!(tree.iter().eq(map.iter()));
                prop_assert!(tree.beginning_with("b").eq(map.iter().filter(|(path, _)| path.starts_with('b'))));
            }
        }
    }
}
