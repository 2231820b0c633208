//! Rendering with less than a run knows, for `lint`: what depends on a host leaves a hole in the text, and where it
//! decides what is written, both ways are gone, one rendering after the other.

use super::ast::Compiled;
use super::eval::{self, Ctx, Frame};
use super::fault::{At, Fault, Origin, Place, Res};
use super::value::Value;
use super::{ErrorKind, FileOptions, Inner, Scope, Templar, TemplateError, header, with_managed};
use crate::diagnostic::{SourceMap, Span};
use crate::language::Node;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Stands in a rendered text for what is not known.
pub const HOLE: char = '\u{1}';

/// More ways than these are not gone; a template of five undecided branches has 32.
const MOST: usize = 64;

/// All that a template may come to.
#[derive(Clone, Debug, Default)]
pub struct Imagined {
    pub ways: Vec<Way>,
    /// These are all the ways there are.
    pub complete: bool,
}

/// One way a template may turn out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Way {
    /// With [`HOLE`]s.
    pub text: String,
    pub pieces: Vec<Piece>,
    /// What is not known, each once.
    pub unknown: Vec<String>,
    /// A statement could not be obeyed, so that more may be different than where the holes are.
    pub lost: bool,
}

/// Where the bytes `start..end` of a rendered text come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    pub start: usize,
    pub end: usize,
    pub from: Span,
    /// The very bytes of the source.
    pub verbatim: bool,
}

impl Way {
    /// Where the bytes `start..end` of the text were made; the span's bytes are the text's own if the flag says so.
    pub fn origin(&self, start: usize, end: usize) -> Option<(Span, bool)> {
        let first = self.pieces.partition_point(|p| p.end <= start);
        // Behind the end is where the last one was made.
        let first = first.min(self.pieces.len().checked_sub(1)?);
        let touched = self.pieces.get(first..)?;
        let touched = &touched[..touched.partition_point(|p| p.start < end.max(start + 1))];
        match touched {
            [] => self.pieces.get(first).map(|one| (one.from, false)),
            [one] if one.verbatim && one.start <= start && end <= one.end => {
                let at = one.from.start as usize;
                Some((
                    Span::new(one.from.file, at + start - one.start, at + end - one.start),
                    true,
                ))
            }
            // A value is what its expression makes it, whatever stands around.
            _ => Some((touched.iter().find(|p| !p.verbatim).unwrap_or(&touched[0]).from, false)),
        }
    }
}

impl Way {
    /// Notes that the text from `start` on was made at `at`.
    fn comes_from(&mut self, sources: &SourceMap, at: &At, start: usize, verbatim: bool) {
        let end = self.text.len();
        let len = |span: Span| (span.end - span.start) as usize;
        let Some(from) = at.span(sources) else { return };
        if !verbatim || len(from) == end - start {
            let piece = Piece {
                start,
                end,
                from,
                verbatim,
            };
            return self.pieces.push(piece);
        }
        // A block of YAML is indented: each of its lines has its own place.
        let mut begin = start;
        let mut offset = at.start;
        for line in self.text.get(start..).unwrap_or_default().split_inclusive('\n') {
            let content = line.strip_suffix('\n').unwrap_or(line);
            let length = u32::try_from(content.len()).unwrap_or(0);
            let one = At {
                origin: at.origin.clone(),
                start: offset,
                end: offset + length,
            };
            if let Some(from) = one.span(sources).filter(|_| length > 0) {
                self.pieces.push(Piece {
                    start: begin,
                    end: begin + content.len(),
                    from,
                    verbatim: len(from) == content.len(),
                });
            }
            begin += line.len();
            offset += length + u32::from(content.len() < line.len());
        }
    }
}

/// What an evaluation in this mode has met and decided.
pub(crate) struct Guess {
    /// Address of the list that takes the template's own output; what is captured on the way has others.
    top: Cell<usize>,
    marks: RefCell<Vec<Option<(At, bool)>>>,
    /// How the first decisions of this way are to be taken, and all others.
    given: Vec<bool>,
    otherwise: bool,
    decisions: RefCell<Vec<(String, bool)>>,
    unknown: RefCell<Vec<String>>,
    lost: Cell<bool>,
}

impl Guess {
    fn new(given: Vec<bool>, otherwise: bool) -> Guess {
        Guess {
            top: Cell::new(0),
            marks: RefCell::default(),
            given,
            otherwise,
            decisions: RefCell::default(),
            unknown: RefCell::default(),
            lost: Cell::new(false),
        }
    }

    /// Whether `out` takes the text of the template itself.
    pub fn is_top(&self, out: &Vec<Value>) -> bool {
        self.top.get() == std::ptr::from_ref(out) as usize
    }

    /// Notes where the last entry of `out` comes from.
    pub fn mark(&self, out: &Vec<Value>, at: At, verbatim: bool) {
        if self.is_top(out) && !out.is_empty() {
            let mut marks = self.marks.borrow_mut();
            marks.resize(out.len() - 1, None);
            marks.push(Some((at, verbatim)));
        }
    }

    fn note(&self, fault: &Fault) {
        let mut text = fault.message.clone();
        // The variable a reader knows, not the fact at the end of its chain.
        if let Some((needed, _)) = fault.trail.last() {
            text = format!("{text}, {}", needed.trim_end_matches(" here"));
        }
        let mut unknown = self.unknown.borrow_mut();
        if !unknown.contains(&text) {
            unknown.push(text);
        }
    }

    pub fn lose(&self, fault: &Fault) {
        self.note(fault);
        self.lost.set(true);
    }

    /// Whether `condition` holds in this way: the same each time it is asked.
    pub fn decide(&self, condition: &str, fault: &Fault) -> bool {
        self.note(fault);
        let mut decisions = self.decisions.borrow_mut();
        if let Some((_, known)) = decisions.iter().find(|(c, _)| c == condition) {
            return *known;
        }
        let answer = self.given.get(decisions.len()).copied().unwrap_or(self.otherwise);
        decisions.push((condition.to_owned(), answer));
        answer
    }
}

/// Whether more knowledge would mend it.
pub(crate) fn is_unknown(fault: &Fault) -> bool {
    matches!(fault.kind, ErrorKind::Unknown(_) | ErrorKind::Undefined(_))
}

impl Templar {
    /// What [`Templar::file`] may write, where not all variables are known. A mistake that no knowledge would mend is an
    /// error.
    pub fn imagine_file(
        &self,
        path: &str,
        text: &str,
        options: &FileOptions,
        search: &[String],
        scope: &Arc<dyn Scope>,
    ) -> Result<Imagined, TemplateError> {
        let (file, text) = self.inner.remember(path, text);
        let scope = with_managed(scope);
        let compile = || -> Res<_> {
            let (body, options, skipped) = header(&text, options)?;
            let place = Place::File(file, skipped);
            Ok((self.inner.text_template(&body, &options, place)?, place, options))
        };
        let (compiled, place, options) = compile().map_err(|f| self.error(f, None))?;
        self.imagine(&compiled, place, &options, search, &scope, None)
    }

    /// The same for a string of a YAML value.
    pub fn imagine_text(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<Imagined, TemplateError> {
        let text = node.as_str().unwrap_or_default();
        let from = node.span;
        if node.is_template() {
            let place = Place::Node(from);
            let compiled = self
                .inner
                .template(text, place)
                .map_err(|f| self.error(f, Some(from)))?;
            return self.imagine(&compiled, place, &FileOptions::default(), &[], scope, Some(from));
        }
        let mut way = Way {
            text: text.to_owned(),
            ..Way::default()
        };
        let origin = Origin {
            text: text.into(),
            place: Place::Node(from),
        };
        let at = At {
            origin: Rc::new(origin),
            start: 0,
            end: u32::try_from(text.len()).unwrap_or(u32::MAX),
        };
        way.comes_from(&self.inner.sources, &at, 0, true);
        Ok(Imagined {
            ways: vec![way],
            complete: true,
        })
    }

    fn imagine(
        &self,
        compiled: &Compiled,
        place: Place,
        options: &FileOptions,
        search: &[String],
        scope: &Arc<dyn Scope>,
        whole: Option<Span>,
    ) -> Result<Imagined, TemplateError> {
        let mut out = Imagined {
            complete: true,
            ..Imagined::default()
        };
        let mut failed = None;
        let mut go = |given: Vec<bool>, otherwise: bool, out: &mut Imagined| {
            let guess = Rc::new(Guess::new(given, otherwise));
            let ctx = Ctx::new(
                self.inner.clone(),
                scope.clone(),
                search.to_vec(),
                Some(options.clone()),
            );
            let ctx = ctx.guessing(guess.clone());
            match one(&self.inner, &ctx, &guess, compiled, place, options, scope) {
                Ok(way) if out.ways.contains(&way) => {}
                Ok(way) => out.ways.push(way),
                Err(fault) => {
                    out.complete = false;
                    failed = Some(fault);
                }
            }
            let decisions = guess.decisions.borrow();
            decisions.iter().map(|(_, answer)| *answer).collect::<Vec<_>>()
        };
        let mut gone = 0;
        let mut given = Vec::new();
        loop {
            given = go(given, false, &mut out);
            gone += 1;
            // The last decision that has not gone the other way yet.
            while given.pop_if(|last| *last).is_some() {}
            match given.last_mut() {
                None => break,
                Some(last) if gone < MOST => *last = true,
                Some(_) => {
                    out.complete = false;
                    // What stands in the branches that were not come to.
                    go(Vec::new(), true, &mut out);
                    break;
                }
            }
        }
        match failed {
            Some(fault) if out.ways.is_empty() => Err(self.error(fault, whole)),
            _ => Ok(out),
        }
    }
}

fn one(
    inner: &Arc<Inner>,
    ctx: &Ctx,
    guess: &Guess,
    compiled: &Compiled,
    place: Place,
    options: &FileOptions,
    scope: &Arc<dyn Scope>,
) -> Res<Way> {
    let mut nodes = Vec::new();
    guess.top.set(std::ptr::from_ref(&nodes) as usize);
    eval::run_into(ctx, compiled, place, &Frame::root(Some(scope.clone())), &mut nodes)?;
    let mut marks = guess.marks.take();
    marks.resize(nodes.len(), None);
    let mut way = Way::default();
    for (node, mark) in nodes.iter().zip(marks) {
        let start = way.text.len();
        match node {
            Value::Str(text) => way.text.push_str(text),
            Value::None | Value::Omit | Value::Blank => {}
            other => match other.finalize(ctx).and_then(|v| v.text(ctx)) {
                Ok(text) => way.text.push_str(&text),
                Err(fault) if is_unknown(&fault) => {
                    guess.note(&fault);
                    way.text.push(HOLE);
                }
                Err(fault) => return Err(fault),
            },
        }
        if let Some((at, verbatim)) = mark {
            way.comes_from(&inner.sources, &at, start, verbatim);
        }
    }
    let ends = |s: &str| s.len() - s.trim_end_matches('\n').len();
    let missing = ends(&compiled.text).saturating_sub(ends(&way.text));
    way.text.push_str(&options.newline.repeat(missing));
    way.unknown = guess.unknown.take();
    way.lost = guess.lost.get();
    Ok(way)
}
