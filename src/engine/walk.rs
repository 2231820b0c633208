//! PURE. Where a host stands in a play, and which task comes next: sections, blocks with rescue and always,
//! included tasks, handler flushes.
//!
//! **A [`Walk`] is a stack of lists; every task has a [`Pos`], and positions of all hosts of a batch compare in
//! the order of Ansible's linear strategy.** Cloning a walk is cheap: the engine looks ahead on a clone.

#![deny(clippy::disallowed_methods)]

use crate::engine::event::Section;
use crate::language::{Block, Item, Play, Role, Task};
use smallvec::{SmallVec, smallvec};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A place in the linear order of a batch: section, index in its list, part of a block, index in that...
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pos(pub SmallVec<[u32; 6]>);

impl Pos {
    /// Where facts are gathered: before everything.
    pub fn facts() -> Pos {
        Pos(smallvec![0])
    }

    /// After everything.
    pub fn end() -> Pos {
        Pos(smallvec![u32::MAX])
    }
}

#[derive(Clone, Debug)]
enum Frame {
    /// A plain list: a section, the body of an include.
    List { items: Arc<[Item]>, index: usize },
    Block {
        block: Arc<Block>,
        part: Part,
        index: usize,
        failed: bool,
    },
    /// The play's handlers; only notified ones are entered.
    Handlers { index: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Block,
    Rescue,
    Always,
}

/// What follows on a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// A `rescue` takes over.
    Rescued,
    /// An `always` runs, then the failure goes on.
    Always,
    /// The host has failed.
    Failed,
}

/// The stations of a play, in order.
const STATIONS: [Station; 9] = [
    Station::Section(Section::PreCheck, 0),
    Station::Section(Section::Task, 0),
    Station::Flush,
    Station::Section(Section::Task, 1),
    Station::Flush,
    Station::Section(Section::Task, 2),
    Station::Flush,
    Station::Section(Section::PostCheck, 0),
    Station::End,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Station {
    Section(Section, u8),
    Flush,
    End,
}

#[derive(Clone, Debug)]
pub struct Walk {
    play: Arc<Play>,
    station: usize,
    entered: bool,
    stack: Vec<Frame>,
    /// Handlers to run, by index in the play's list.
    pub notified: BTreeSet<usize>,
    /// Dry run: handlers that run if a task whose outcome cannot be known changes something.
    pub maybe_notified: BTreeSet<usize>,
    /// Uses of roles ([`Role::identity`]) of which a task has run here, and those that came to their end with that:
    /// equal uses further on are passed over.
    begun_roles: BTreeSet<usize>,
    done_roles: BTreeSet<usize>,
    only_checks: bool,
    ended: bool,
    failed: bool,
}

impl Walk {
    /// `only_checks`: `verify`, which runs `pre_checks` and `post_checks` alone.
    pub fn new(play: Arc<Play>, only_checks: bool) -> Self {
        Walk {
            play,
            station: 0,
            entered: false,
            stack: Vec::new(),
            notified: BTreeSet::new(),
            maybe_notified: BTreeSet::new(),
            begun_roles: BTreeSet::new(),
            done_roles: BTreeSet::new(),
            only_checks,
            ended: false,
            failed: false,
        }
    }

    /// The task to do now, if there is one left. Settles the walk on it; the same answer until [`Walk::advance`].
    pub fn current(&mut self) -> Option<Arc<Task>> {
        loop {
            if self.ended {
                return None;
            }
            // Handlers that were notified run, whatever became of their role.
            let handlers = self.stack.iter().any(|f| matches!(f, Frame::Handlers { .. }));
            let Some(frame) = self.stack.last_mut() else {
                if !self.enter_station() {
                    return None;
                }
                continue;
            };
            let done = &self.done_roles;
            let passed_over = |task: &Task| {
                let role = task.role.as_ref().filter(|role| !role.duplicates && !handlers);
                role.is_some_and(|role| done.contains(&role.identity))
            };
            match frame {
                Frame::List { items, index } => match items.get(*index).cloned() {
                    Some(Item::Task(task)) if passed_over(&task) => step(frame),
                    Some(Item::Task(task)) => return Some(task),
                    Some(Item::Block(block)) => self.push_block(block),
                    Some(Item::RoleEnd(role)) => {
                        step(frame);
                        if self.begun_roles.contains(&role.identity) {
                            self.done_roles.insert(role.identity);
                        }
                    }
                    None => self.pop(),
                },
                Frame::Block {
                    block,
                    part,
                    index,
                    failed,
                } => {
                    let list = match part {
                        Part::Block => &block.block,
                        Part::Rescue => &block.rescue,
                        Part::Always => &block.always,
                    };
                    match list.get(*index).cloned() {
                        Some(Item::Task(task)) if passed_over(&task) => step(frame),
                        Some(Item::Task(task)) => return Some(task),
                        Some(Item::Block(inner)) => self.push_block(inner),
                        Some(Item::RoleEnd(_)) => step(frame),
                        None if *part != Part::Always => {
                            *part = Part::Always;
                            *index = 0;
                        }
                        None => {
                            let failed = *failed;
                            if failed {
                                self.stack.pop();
                                if self.unwind() == AfterFailure::Failed {
                                    return None;
                                }
                            } else {
                                self.pop();
                            }
                        }
                    }
                }
                Frame::Handlers { index } => {
                    let wanted = (*index..self.play.handlers.len())
                        .find(|i| self.notified.contains(i) || self.maybe_notified.contains(i));
                    match wanted {
                        None => self.pop(),
                        Some(next) => {
                            *index = next;
                            match &self.play.handlers[next] {
                                Item::Task(task) => return Some(task.clone()),
                                Item::Block(block) => {
                                    let block = block.clone();
                                    self.push_block(block);
                                }
                                Item::RoleEnd(_) => *index += 1,
                            }
                        }
                    }
                }
            }
        }
    }

    fn push_block(&mut self, block: Arc<Block>) {
        self.stack.push(Frame::Block {
            block,
            part: Part::Block,
            index: 0,
            failed: false,
        });
    }

    /// Leaves the top frame and steps past what stood for it in the frame below.
    fn pop(&mut self) {
        self.stack.pop();
        self.advance();
    }

    fn enter_station(&mut self) -> bool {
        if self.failed {
            // Forced handlers were the last thing.
            self.ended = true;
            return false;
        }
        if self.entered {
            self.station += 1;
        }
        self.entered = true;
        let Some(station) = STATIONS.get(self.station).copied() else {
            self.ended = true;
            return false;
        };
        match station {
            Station::Section(section, n) => {
                if self.only_checks && section == Section::Task {
                    return true;
                }
                let items: &[Item] = match (section, n) {
                    (Section::PreCheck, _) => &self.play.pre_checks,
                    (Section::PostCheck, _) => &self.play.post_checks,
                    (_, 0) => &self.play.pre_tasks,
                    (_, 1) => &self.play.tasks,
                    _ => &self.play.post_tasks,
                };
                if !items.is_empty() {
                    self.stack.push(Frame::List {
                        items: items.into(),
                        index: 0,
                    });
                }
                true
            }
            Station::Flush => {
                if !self.notified.is_empty() || !self.maybe_notified.is_empty() {
                    self.stack.push(Frame::Handlers { index: 0 });
                }
                true
            }
            Station::End => {
                self.ended = true;
                false
            }
        }
    }

    /// Steps past the current task.
    pub fn advance(&mut self) {
        if let Some(frame) = self.stack.last_mut() {
            if let Frame::Handlers { index } = frame {
                self.notified.remove(index);
                self.maybe_notified.remove(index);
            }
            step(frame);
        }
    }

    /// The current task has run here (it was not skipped, and the host was reached).
    pub fn has_run(&mut self, task: &Task) {
        if let Some(role) = &task.role {
            self.begun_roles.insert(role.identity);
        }
    }

    /// Puts tasks to be done next, in place of the current one (an include); `advance` has not been called.
    pub fn insert(&mut self, items: Vec<Item>) {
        self.stack.push(Frame::List {
            items: items.into(),
            index: 0,
        });
    }

    /// Runs notified handlers now (`meta: flush_handlers`), then goes on behind the current task.
    pub fn flush(&mut self) {
        self.stack.push(Frame::Handlers { index: 0 });
    }

    /// The current task failed (for good).
    pub fn fail(&mut self) -> AfterFailure {
        self.unwind()
    }

    fn unwind(&mut self) -> AfterFailure {
        while let Some(frame) = self.stack.last_mut() {
            if let Frame::Block {
                block,
                part,
                index,
                failed,
            } = frame
            {
                match part {
                    Part::Block if !block.rescue.is_empty() => {
                        *part = Part::Rescue;
                        *index = 0;
                        return AfterFailure::Rescued;
                    }
                    Part::Block | Part::Rescue if !block.always.is_empty() => {
                        *part = Part::Always;
                        *index = 0;
                        *failed = true;
                        return AfterFailure::Always;
                    }
                    _ => {}
                }
            }
            if let Some(Frame::Handlers { index }) = self.stack.pop() {
                // A handler that failed has had its turn.
                self.notified.remove(&index);
                self.maybe_notified.remove(&index);
            }
        }
        self.ended = true;
        self.failed = true;
        AfterFailure::Failed
    }

    /// After a failure: run what was notified all the same (`force_handlers`), where the other hosts run theirs,
    /// then end.
    pub fn force_handlers(&mut self) -> bool {
        let flush = (self.station..STATIONS.len()).find(|s| STATIONS.get(*s) == Some(&Station::Flush));
        let Some(flush) = flush.filter(|_| !self.notified.is_empty()) else {
            return false;
        };
        self.ended = false;
        self.station = flush;
        self.entered = true;
        self.stack = vec![Frame::Handlers { index: 0 }];
        true
    }

    /// Ends this host's play (`meta: end_host`, `end_play`).
    pub fn end(&mut self) {
        self.stack.clear();
        self.ended = true;
    }

    /// Whether a failure came to the bottom of the stack (also one that went on behind an `always`).
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether the current task stands in a `rescue` or below one.
    pub fn section(&self) -> Section {
        if self.stack.iter().any(|f| matches!(f, Frame::Handlers { .. })) {
            return Section::Handler;
        }
        match STATIONS.get(self.station) {
            Some(Station::Section(section, _)) => *section,
            _ => Section::Handler,
        }
    }

    /// The handler that the current task is. Of what a handler includes nobody knows here which is the last.
    pub fn current_handler(&self) -> Option<usize> {
        match self.stack.last() {
            Some(Frame::Handlers { index }) => Some(*index),
            _ => None,
        }
    }

    /// What a handler is called: by its name, else by the first topic it listens to.
    pub fn handler_name(&self, index: usize) -> Option<String> {
        let text = |node: &crate::language::Node| node.as_str().map(str::to_owned);
        match self.play.handlers.get(index)? {
            Item::Task(task) => task.name.as_ref().or(task.listen.first()).and_then(text),
            Item::Block(block) => block
                .name
                .as_ref()
                .and_then(text)
                .or_else(|| block.listen.first().cloned()),
            Item::RoleEnd(_) => None,
        }
    }

    /// Whether the current task is a handler that only may have been notified (dry run).
    pub fn is_maybe(&self) -> bool {
        match self.stack.last() {
            Some(Frame::Handlers { index }) => !self.notified.contains(index),
            _ => false,
        }
    }

    /// Whether a failure of the current task would be rescued.
    pub fn would_rescue(&self) -> bool {
        self.stack
            .iter()
            .any(|f| matches!(f, Frame::Block { block, part: Part::Block, .. } if !block.rescue.is_empty()))
    }

    /// The position of the current task.
    pub fn pos(&self) -> Pos {
        let mut pos: SmallVec<[u32; 6]> = smallvec![u32::try_from(self.station).unwrap_or(u32::MAX)];
        for frame in &self.stack {
            match frame {
                Frame::List { index, .. } => pos.push(number(*index)),
                Frame::Block { part, index, .. } => pos.extend([*part as u32, number(*index)]),
                Frame::Handlers { index } => pos.push(number(*index)),
            }
        }
        Pos(pos)
    }

    /// Handlers that listen to a notification: by name, then by `listen` topic. Indexes in the play's list. `text`: the
    /// name of a handler, where it is a template.
    pub fn handlers_for(&self, name: &str, text: &dyn Fn(&Arc<Task>) -> Option<String>) -> Vec<usize> {
        let is = |task: &Task, own: &str| {
            // `role : handler` names a role's handler from outside.
            let of_role =
                |r: &Arc<Role>| name.strip_prefix(&r.name).and_then(|rest| rest.strip_prefix(" : ")) == Some(own);
            own == name || task.role.as_ref().is_some_and(of_role)
        };
        let named = |task: &Arc<Task>| {
            let written = task.name.as_ref();
            written.and_then(|n| n.as_str()).is_some_and(|own| is(task, own))
                || written.is_some_and(|n| n.is_template()) && text(task).is_some_and(|own| is(task, &own))
        };
        let listens = |task: &Task| task.listen.iter().any(|l| l.as_str() == Some(name));
        let mut found = Vec::new();
        // Of the lists of handlers (each role's, the play's) the last that has the name wins; in a list the first.
        let role = |h: &Item| match h {
            Item::Task(task) => task.role.as_ref().map(Arc::as_ptr),
            Item::Block(_) | Item::RoleEnd(_) => None,
        };
        let mut last: Option<(usize, Option<*const Role>)> = None;
        for (i, handler) in self.play.handlers.iter().enumerate() {
            let here = match handler {
                Item::Task(task) => named(task),
                Item::Block(block) => block.name.as_ref().and_then(|n| n.as_str()) == Some(name),
                Item::RoleEnd(_) => false,
            };
            if here && last.is_none_or(|(_, list)| list != role(handler)) {
                last = Some((i, role(handler)));
            }
        }
        found.extend(last.map(|(i, _)| i));
        let name_of = |handler: &Item| match handler {
            Item::Task(task) => task.name.as_ref().and_then(|n| n.as_str()).map(str::to_owned),
            _ => None,
        };
        // Of those of one name that listen the last list's is meant, too.
        let mut hearing: Vec<usize> = Vec::new();
        for (i, handler) in self.play.handlers.iter().enumerate() {
            let hears = match handler {
                Item::Task(task) => listens(task),
                Item::Block(block) => block.listen.iter().any(|l| l == name),
                Item::RoleEnd(_) => false,
            };
            if !hears {
                continue;
            }
            let own = name_of(handler);
            let same = |j: &usize| own.is_some() && name_of(&self.play.handlers[*j]) == own;
            match hearing.iter().position(same) {
                Some(at) if role(&self.play.handlers[hearing[at]]) == role(handler) => {}
                Some(at) => hearing[at] = i,
                None => hearing.push(i),
            }
        }
        found.extend(hearing);
        found
    }
}

fn step(frame: &mut Frame) {
    match frame {
        Frame::List { index, .. } | Frame::Block { index, .. } | Frame::Handlers { index } => *index += 1,
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
