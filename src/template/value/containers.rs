//! Lists and dicts that come to be as they are looked at, and their keys.

use super::*;
use crate::template::fault::{At, Fault};
use crate::template::{ErrorKind, Found};

/// Something to evaluate when it is reached.
pub(crate) enum Lazy {
    /// A string that is a template.
    Text(NodeRef),
    /// A variable of a scope.
    Variable(Arc<dyn Scope>, Rc<str>),
}

/// A node somewhere inside a tree that is shared, and the scope to evaluate it in.
#[derive(Clone)]
pub(crate) struct NodeRef {
    pub root: Arc<Node>,
    pub path: Path<usize>,
    pub scope: Arc<dyn Scope>,
    /// The variable's name and the steps below it, for messages.
    pub name: Rc<str>,
}

/// A value somewhere inside plain data.
#[derive(Clone)]
pub(crate) struct DataRef {
    root: Arc<Json>,
    path: Path<DataStep>,
}

#[derive(Clone)]
pub(crate) enum DataStep {
    Index(usize),
    Key(Rc<str>),
}

pub(crate) struct Path<T>(Option<Rc<(Path<T>, T)>>);

impl<T> Clone for Path<T> {
    fn clone(&self) -> Self {
        Path(self.0.clone())
    }
}

impl<T> Path<T> {
    pub fn root() -> Self {
        Path(None)
    }

    fn then(&self, step: T) -> Self {
        Path(Some(Rc::new((self.clone(), step))))
    }
}

impl NodeRef {
    pub fn node(&self) -> Option<&Node> {
        fn walk<'a>(root: &'a Node, path: &Path<usize>) -> Option<&'a Node> {
            let Some(step) = &path.0 else { return Some(root) };
            match &walk(root, &step.0)?.yaml {
                Yaml::Seq(items) => items.get(step.1),
                Yaml::Map(map) => map.entries.get(step.1).map(|e| &e.value),
                _ => None,
            }
        }
        walk(&self.root, &self.path)
    }

    /// The key it is the value of; the variable's definition for a whole variable.
    pub fn defined_at(&self) -> Option<Span> {
        let Some(step) = &self.path.0 else {
            return self.scope.defined_at(&self.name);
        };
        let parent = NodeRef {
            path: step.0.clone(),
            ..self.clone()
        };
        let map = parent.node()?.as_map()?;
        map.entries.get(step.1).map(|e| e.key_span)
    }

    fn child(&self, index: usize, name: Rc<str>) -> NodeRef {
        NodeRef {
            root: self.root.clone(),
            path: self.path.then(index),
            scope: self.scope.clone(),
            name,
        }
    }

    fn child_value(&self, child: &Node, index: usize, step: impl FnOnce() -> String) -> Value {
        match &child.yaml {
            Yaml::Str(_) if child.is_template() => Value::Lazy(Rc::new(Lazy::Text(
                self.child(index, (self.name.to_string() + &step()).into()),
            ))),
            Yaml::Seq(_) => List::new(Seq::Node(self.child(index, (self.name.to_string() + &step()).into()))).into(),
            Yaml::Map(_) => Dict::new(Map::Node(self.child(index, (self.name.to_string() + &step()).into()))).into(),
            scalar => scalar_value(scalar),
        }
    }

    /// The value as it is before any evaluation: a template string becomes [`Value::Lazy`].
    pub fn value(self) -> Value {
        enum Kind {
            Template,
            Seq,
            Map,
            Scalar(Value),
        }
        let kind = match self.node() {
            None => Kind::Scalar(Value::None),
            Some(n) => match &n.yaml {
                Yaml::Str(_) if n.is_template() => Kind::Template,
                Yaml::Seq(_) => Kind::Seq,
                Yaml::Map(_) => Kind::Map,
                scalar => Kind::Scalar(scalar_value(scalar)),
            },
        };
        match kind {
            Kind::Template => Value::Lazy(Rc::new(Lazy::Text(self))),
            Kind::Seq => List::new(Seq::Node(self)).into(),
            Kind::Map => Dict::new(Map::Node(self)).into(),
            Kind::Scalar(value) => value,
        }
    }
}

pub(super) fn scalar_value(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Bool(b) => Value::Bool(*b),
        Yaml::Int(i) => Value::Int(i128::from(*i)),
        Yaml::Float(f) => Value::Float(*f),
        Yaml::Str(t) => Value::str(&t.value),
        Yaml::Null | Yaml::Seq(_) | Yaml::Map(_) => Value::None,
    }
}

impl DataRef {
    /// All of it.
    pub(super) fn whole(root: Arc<Json>) -> Self {
        DataRef {
            root,
            path: Path::root(),
        }
    }

    fn data(&self) -> &Json {
        fn walk<'a>(root: &'a Json, path: &Path<DataStep>) -> &'a Json {
            const NULL: &Json = &Json::Null;
            let Some(step) = &path.0 else { return root };
            let parent = walk(root, &step.0);
            match &step.1 {
                DataStep::Index(i) => parent.get(*i),
                DataStep::Key(k) => parent.get(&**k),
            }
            .unwrap_or(NULL)
        }
        walk(&self.root, &self.path)
    }

    fn child_value(&self, data: &Json, step: impl FnOnce() -> DataStep) -> Value {
        let child = || DataRef {
            root: self.root.clone(),
            path: self.path.then(step()),
        };
        match data {
            Json::Array(_) => List::new(Seq::Data(child())).into(),
            Json::Object(_) => Dict::new(Map::Data(child())).into(),
            scalar => Value::from_scalar(scalar),
        }
    }
}

/// A list; shared and changeable, as in Python.
#[derive(Clone)]
pub(crate) struct List(pub(super) Rc<RefCell<Seq>>);

#[derive(Clone)]
pub(super) enum Seq {
    Items(Vec<Value>),
    Node(NodeRef),
    Data(DataRef),
}

impl List {
    pub(super) fn new(seq: Seq) -> Self {
        List(Rc::new(RefCell::new(seq)))
    }

    pub fn of(items: Vec<Value>) -> Self {
        List::new(Seq::Items(items))
    }

    /// Sets the place of items that failed and have none.
    pub fn locate(&self, at: impl Fn() -> At) {
        if let Seq::Items(items) = &mut *self.0.borrow_mut() {
            for item in items {
                if let Value::Marker(fault) = item {
                    *fault = fault.clone().located(&at);
                }
            }
        }
    }

    pub fn len(&self) -> usize {
        match &*self.0.borrow() {
            Seq::Items(v) => v.len(),
            Seq::Node(n) => n.node().and_then(Node::as_seq).map_or(0, <[Node]>::len),
            Seq::Data(d) => d.data().as_array().map_or(0, Vec::len),
        }
    }

    fn materialize(&self) {
        let items = match &*self.0.borrow() {
            Seq::Items(_) => return,
            Seq::Node(n) => n
                .node()
                .and_then(Node::as_seq)
                .unwrap_or(&[])
                .iter()
                .enumerate()
                .map(|(i, c)| n.child_value(c, i, || format!("[{i}]")))
                .collect(),
            Seq::Data(d) => d
                .data()
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default()
                .iter()
                .enumerate()
                .map(|(i, c)| d.child_value(c, || DataStep::Index(i)))
                .collect(),
        };
        *self.0.borrow_mut() = Seq::Items(items);
    }

    pub fn get(&self, ctx: &Ctx, index: usize) -> Option<Value> {
        // A number or string has nothing that could be changed in place: no need to own the whole list.
        if let Seq::Data(d) = &*self.0.borrow()
            && let Some(scalar) = d.data().as_array().map(|items| items.get(index))
            && !scalar.is_some_and(|item| item.is_array() || item.is_object())
        {
            return scalar.map(|item| d.child_value(item, || DataStep::Index(index)));
        }
        self.materialize();
        let value = match &*self.0.borrow() {
            Seq::Items(v) => v.get(index).cloned(),
            _ => None,
        }?;
        Some(self.forced(ctx, index, value))
    }

    fn forced(&self, ctx: &Ctx, index: usize, value: Value) -> Value {
        if !matches!(value, Value::Lazy(_)) {
            return value;
        }
        let value = ctx.force(value);
        if let Seq::Items(v) = &mut *self.0.borrow_mut()
            && let Some(slot) = v.get_mut(index)
        {
            *slot = value.clone();
        }
        value
    }

    pub fn items(&self, ctx: &Ctx) -> Vec<Value> {
        self.materialize();
        let items = match &*self.0.borrow() {
            Seq::Items(v) => v.clone(),
            _ => Vec::new(),
        };
        items
            .into_iter()
            .enumerate()
            .map(|(i, v)| self.forced(ctx, i, v))
            .collect()
    }

    pub fn edit<T>(&self, f: impl FnOnce(&mut Vec<Value>) -> T) -> T {
        self.materialize();
        match &mut *self.0.borrow_mut() {
            Seq::Items(v) => f(v),
            _ => f(&mut Vec::new()),
        }
    }

    pub fn same(&self, other: &List) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// A dict; shared and changeable, insertion-ordered, as in Python.
#[derive(Clone)]
pub(crate) struct Dict(pub(super) Rc<RefCell<Map>>);

#[derive(Clone)]
pub(super) enum Map {
    Items(IndexMap<Key, Value>),
    Node(NodeRef),
    Data(DataRef),
    /// The variables of a scope as a mapping (`vars`, `hostvars`).
    Scope(Arc<dyn Scope>),
}

impl Dict {
    pub(super) fn new(map: Map) -> Self {
        Dict(Rc::new(RefCell::new(map)))
    }

    pub fn of(items: IndexMap<Key, Value>) -> Self {
        Dict::new(Map::Items(items))
    }

    pub fn scope(scope: Arc<dyn Scope>) -> Self {
        Dict::new(Map::Scope(scope))
    }

    /// Where it is written, if it was.
    pub fn written(&self) -> Option<NodeRef> {
        match &*self.0.borrow() {
            Map::Node(n) => Some(n.clone()),
            _ => None,
        }
    }

    pub fn len(&self) -> usize {
        match &*self.0.borrow() {
            Map::Items(m) => m.len(),
            Map::Node(n) => n.node().and_then(Node::as_map).map_or(0, |m| m.entries.len()),
            Map::Data(d) => d.data().as_object().map_or(0, serde_json::Map::len),
            Map::Scope(s) => s.names().len(),
        }
    }

    pub fn keys(&self) -> Vec<Key> {
        let text = |s: &str| Key::Str(s.into());
        match &*self.0.borrow() {
            Map::Items(m) => m.keys().cloned().collect(),
            Map::Node(n) => n
                .node()
                .and_then(Node::as_map)
                .map_or(Vec::new(), |m| m.keys().map(text).collect()),
            Map::Data(d) => d
                .data()
                .as_object()
                .map_or(Vec::new(), |m| m.keys().map(|k| text(k)).collect()),
            Map::Scope(s) => s.names().iter().map(|n| text(n)).collect(),
        }
    }

    pub fn has(&self, key: &Key) -> Res<bool> {
        if let (Map::Scope(scope), Key::Str(name)) = (&*self.0.borrow(), key) {
            // Its names are not all there before the tasks that bring them.
            return match scope.lookup(name) {
                Found::Missing => Ok(false),
                Found::Unknown(what) => Err(Rc::new(Fault::new(ErrorKind::Unknown(what.clone()), what))),
                _ => Ok(true),
            };
        }
        Ok(self.keys().contains(key))
    }

    pub fn get(&self, ctx: &Ctx, key: &Key) -> Option<Value> {
        // YAML keys are strings here; Python would find `d[1]` under a key written `1`.
        let name: Rc<str> = match (&*self.0.borrow(), key) {
            (Map::Items(_), _) => "".into(),
            (_, Key::Str(s)) => s.clone(),
            (_, Key::Int(i)) => i.to_string().into(),
            _ => return None,
        };
        let value = match &*self.0.borrow() {
            Map::Items(m) => m.get(key).cloned(),
            Map::Node(n) => {
                let map = n.node()?.as_map()?;
                let i = map.entries.iter().position(|e| *e.key == *name)?;
                Some(n.child_value(&map.entries[i].value, i, || format!(".{name}")))
            }
            Map::Data(d) => {
                let child = d.data().get(&*name)?;
                Some(d.child_value(child, || DataStep::Key(name.clone())))
            }
            Map::Scope(s) => return ctx.variable_in(s, &name),
        }?;
        Some(self.forced(ctx, key, value))
    }

    fn forced(&self, ctx: &Ctx, key: &Key, value: Value) -> Value {
        if !matches!(value, Value::Lazy(_)) {
            return value;
        }
        let value = ctx.force(value);
        if let Map::Items(m) = &mut *self.0.borrow_mut()
            && let Some(slot) = m.get_mut(key)
        {
            *slot = value.clone();
        }
        value
    }

    fn materialize(&self) {
        let items = match &*self.0.borrow() {
            Map::Items(_) => return,
            Map::Node(n) => match n.node().and_then(Node::as_map) {
                Some(map) => (map.entries.iter().enumerate())
                    .map(|(i, e)| {
                        (
                            Key::Str(e.key.as_str().into()),
                            n.child_value(&e.value, i, || format!(".{}", e.key)),
                        )
                    })
                    .collect(),
                None => IndexMap::new(),
            },
            Map::Data(d) => match d.data() {
                Json::Object(map) => map
                    .iter()
                    .map(|(k, v)| {
                        let name: Rc<str> = k.as_str().into();
                        (Key::Str(name.clone()), d.child_value(v, || DataStep::Key(name)))
                    })
                    .collect(),
                _ => IndexMap::new(),
            },
            Map::Scope(s) => s
                .names()
                .iter()
                .map(|n| {
                    let name: Rc<str> = n.as_str().into();
                    (
                        Key::Str(name.clone()),
                        Value::Lazy(Rc::new(Lazy::Variable(s.clone(), name))),
                    )
                })
                .collect(),
        };
        *self.0.borrow_mut() = Map::Items(items);
    }

    pub fn items(&self, ctx: &Ctx) -> Vec<(Key, Value)> {
        self.materialize();
        let items: Vec<(Key, Value)> = match &*self.0.borrow() {
            Map::Items(m) => m.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            _ => Vec::new(),
        };
        items
            .into_iter()
            .map(|(k, v)| {
                let v = self.forced(ctx, &k, v);
                (k, v)
            })
            .collect()
    }

    pub fn edit<T>(&self, f: impl FnOnce(&mut IndexMap<Key, Value>) -> T) -> T {
        self.materialize();
        match &mut *self.0.borrow_mut() {
            Map::Items(m) => f(m),
            _ => f(&mut IndexMap::new()),
        }
    }

    pub fn same(&self, other: &Dict) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// What can be a key of a dict. `1`, `1.0` and `True` are one key, as in Python.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Rc<str>),
    Tuple(Rc<Vec<Key>>),
}

impl Key {
    fn number(&self) -> Option<i128> {
        match self {
            Key::Bool(b) => Some(i128::from(*b)),
            Key::Int(i) => Some(*i),
            #[allow(clippy::cast_possible_truncation)]
            Key::Float(f) if f.fract() == 0.0 && f.abs() < 1e30 => Some(*f as i128),
            _ => None,
        }
    }

    pub fn to_value(&self) -> Value {
        match self {
            Key::None => Value::None,
            Key::Bool(b) => Value::Bool(*b),
            Key::Int(i) => Value::Int(*i),
            Key::Float(f) => Value::Float(*f),
            Key::Str(s) => Value::Str(s.clone()),
            Key::Tuple(t) => Value::Tuple(Rc::new(t.iter().map(Key::to_value).collect())),
        }
    }

    /// As JSON writes a key.
    pub fn json_name(&self) -> String {
        match self {
            Key::None => "null".into(),
            Key::Bool(b) => b.to_string(),
            Key::Int(i) => i.to_string(),
            Key::Float(f) => float_text(*f),
            Key::Str(s) => s.to_string(),
            Key::Tuple(_) => self.to_value().type_name().into(),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Key::None, Key::None) => true,
            (Key::Str(a), Key::Str(b)) => a == b,
            (Key::Tuple(a), Key::Tuple(b)) => a == b,
            (Key::Float(a), Key::Float(b)) => a.to_bits() == b.to_bits() || a == b,
            _ => self.number().is_some() && self.number() == other.number(),
        }
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Key::None => state.write_u8(0),
            Key::Str(s) => s.hash(state),
            Key::Tuple(t) => t.hash(state),
            _ => match (self.number(), self) {
                (Some(n), _) => n.hash(state),
                (None, Key::Float(f)) => f.to_bits().hash(state),
                (None, _) => {}
            },
        }
    }
}
