//! The consumers of one file, packed: a few dozen bytes each besides their names.

use super::{
    MAX_LINE,
    line::{Line, Problem},
};
use palisade_contract::{ConfigError, Consumer, Held, Place, Principal};
use palisade_plugins::key_id;
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// As many errors of one file are said.
const SAID: usize = 10;

/// A key says nothing about its holder: one nothing serves all.
static NO_CLAIMS: LazyLock<Arc<BTreeMap<String, serde_json::Value>>> = LazyLock::new(Arc::default);

/// The consumers of one file.
#[derive(Debug, Default)]
pub(super) struct Part {
    file: Option<Arc<Path>>,
    /// All names, ids and stored passwords, one behind another.
    text: String,
    pub(super) members: Vec<Member>,
    pub(super) entries: Vec<Entry>,
    /// Names of credentials.
    ids: Vec<Span>,
    /// Each set of groups once.
    sets: Vec<Set>,
}

/// A consumer.
#[derive(Debug)]
pub(super) struct Member {
    name: Span,
    line: u32,
}

/// Names up to this length stand in the credentials themselves.
const SHORT: usize = 20;

/// A credential, with all that is wanted of its consumer: one line of the processor's cache, so that what is found costs
/// one look at memory.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Entry {
    pub(super) hash: [u8; 32],
    /// The consumer's name; of a long one where it begins in the text.
    name: [u8; SHORT],
    /// Seconds since 1970; 0: never.
    expires: u32,
    /// The name that it has been given: its number and one; 0: none.
    id: u32,
    /// The consumer's groups.
    set: u16,
    length: u8,
}

const _: () = assert!(size_of::<Entry>() == 64);

/// A part of the text.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    length: u16,
}

impl Part {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, the first few.
    pub(super) fn read(path: &Path, known: &mut Sets) -> Result<Self, Vec<ConfigError>> {
        let file: Arc<Path> = path.into();
        let cannot = |error: std::io::Error| {
            let error = ConfigError::new(format!("cannot read the file: {error}"));
            vec![error.help("make it readable, or remove it").place(Place::of_file(file.clone()))]
        };
        // Anything else (a pipe, a device) could block for ever.
        if !std::fs::metadata(path).map_err(cannot)?.is_file() {
            let error = ConfigError::new("this is not a regular file").help("remove it");
            return Err(vec![error.place(Place::of_file(file.clone()))]);
        }
        let reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(cannot)?);
        Builder::new(file.clone(), known).read(reader).map_err(|failed| match failed {
            Failed::Io(error) => cannot(error),
            Failed::Wrong(errors) => errors,
        })
    }

    fn slice(&self, span: Span) -> &str {
        let start = span.start as usize;
        self.text.get(start..start + usize::from(span.length)).unwrap_or_default()
    }

    /// The name of a consumer.
    pub(super) fn name(&self, member: &Member) -> &str {
        self.slice(member.name)
    }

    /// Where a consumer is written.
    pub(super) fn place(&self, member: &Member) -> Place {
        let file = self.file.clone().unwrap_or_else(|| Path::new("").into());
        Place { file, line: member.line, column: 1 }
    }

    /// Whose a credential is. For errors: it looks at all.
    pub(super) fn member_of(&self, entry: &Entry) -> Option<&Member> {
        let name = self.owner(entry);
        self.members.iter().find(|member| self.name(member) == name)
    }

    fn owner<'a>(&'a self, entry: &'a Entry) -> &'a str {
        if let Some(short) = entry.name.get(..usize::from(entry.length)) {
            return str::from_utf8(short).unwrap_or_default();
        }
        let start = entry.name.first_chunk().map_or(0, |start| u32::from_le_bytes(*start));
        self.slice(Span { start, length: entry.length.into() })
    }

    /// Who holds it.
    pub(super) fn held(&self, entry: &Entry) -> Option<Held> {
        let groups = self.sets.get(usize::from(entry.set))?.to_vec();
        let name: Arc<str> = self.owner(entry).into();
        let id = (entry.id as usize).checked_sub(1).and_then(|index| self.ids.get(index));
        let id = id.map_or_else(|| key_id(&entry.hash), |id| self.slice(*id).into());
        let expires = (entry.expires > 0).then(|| UNIX_EPOCH + Duration::from_secs(entry.expires.into()));
        let principal = Principal {
            id: name.clone(),
            consumer: Some(Arc::new(Consumer { name, groups })),
            credential: Some(id),
            claims: NO_CLAIMS.clone(),
            anonymous: false,
        };
        Some(Held { principal: Arc::new(principal), expires })
    }

    /// What it takes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.text.capacity()
            + self.members.capacity() * size_of::<Member>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.ids.capacity() * size_of::<Span>()
            + self.sets.capacity() * size_of::<Set>()
    }
}

/// The groups of a consumer.
type Set = Arc<[Arc<str>]>;

/// Groups, and sets of them, that consumers of any file are in: each once, so that those which many are in stay close.
#[derive(Debug, Default, Clone)]
pub(super) struct Sets {
    groups: HashMap<String, Arc<str>>,
    sets: HashMap<Vec<String>, Set>,
}

impl Sets {
    fn set(&mut self, groups: &[String]) -> Set {
        if let Some(set) = self.sets.get(groups) {
            return set.clone();
        }
        let known = groups
            .iter()
            .map(|group| self.groups.entry(group.clone()).or_insert_with(|| group.as_str().into()).clone());
        let set: Set = known.collect();
        self.sets.insert(groups.to_vec(), set.clone());
        set
    }

    /// Lets go of those that nobody is in any more.
    pub(super) fn sweep(&mut self) {
        self.sets.retain(|_, set| Arc::strong_count(set) > 1);
        self.groups.retain(|_, group| Arc::strong_count(group) > 1);
    }
}

enum Failed {
    Io(std::io::Error),
    Wrong(Vec<ConfigError>),
}

/// Packs one line after another.
struct Builder<'a> {
    part: Part,
    known: &'a mut Sets,
    /// The numbers of the sets that are in the part.
    sets: HashMap<Vec<String>, u16>,
    line: u32,
    errors: Vec<ConfigError>,
}

impl<'a> Builder<'a> {
    fn new(file: Arc<Path>, known: &'a mut Sets) -> Self {
        let part = Part { file: Some(file), ..Part::default() };
        Builder { part, known, sets: HashMap::new(), line: 0, errors: Vec::new() }
    }

    fn read(mut self, mut reader: impl BufRead) -> Result<Part, Failed> {
        let mut line = Vec::new();
        while self.errors.len() < SAID {
            line.clear();
            self.line = self.line.saturating_add(1);
            // Two bytes more than a line may have: its break, and one that says that it is too long.
            let most = MAX_LINE as u64 + 2;
            if reader.by_ref().take(most).read_until(b'\n', &mut line).map_err(Failed::Io)? == 0 {
                break;
            }
            let ended = line.last() == Some(&b'\n');
            if ended {
                line.pop();
            }
            if line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
                continue;
            }
            if let Err(problem) = self.add(&line, ended) {
                self.wrong(problem);
                if !ended {
                    // What follows is the rest of the same line.
                    break;
                }
            }
        }
        if !self.errors.is_empty() {
            return Err(Failed::Wrong(self.errors));
        }
        let Part { text, members, entries, ids, sets, .. } = &mut self.part;
        text.shrink_to_fit();
        members.shrink_to_fit();
        entries.shrink_to_fit();
        ids.shrink_to_fit();
        sets.shrink_to_fit();
        Ok(self.part)
    }

    fn wrong(&mut self, problem: Problem) {
        let file = self.part.file.clone().unwrap_or_else(|| Path::new("").into());
        let mut error = ConfigError::new(problem.message);
        error.help = problem.help;
        self.errors.push(error.place(Place { file, line: self.line, column: problem.column }));
    }

    fn add(&mut self, text: &[u8], ended: bool) -> Result<(), Problem> {
        let line = Line::read(text)?;
        if !ended {
            // A line that is still being written may be whole JSON already.
            return Err(Problem::new("the last line has no line break", "end each line with one"));
        }
        let set = self.set(&line.groups)?;
        let name = self.keep(&line.name)?;
        number(self.part.members.len())?;
        self.part.members.push(Member { name, line: self.line });
        let length = u8::try_from(line.name.len()).unwrap_or(u8::MAX);
        let inline = inline(&line.name, name);
        for key in &line.key_auth {
            let read = key.0.read()?;
            let id = match read.id {
                Some(id) => {
                    let span = self.keep(id)?;
                    self.part.ids.push(span);
                    number(self.part.ids.len())?
                }
                None => 0,
            };
            let expires = read.expires.map_or(Ok(0), seconds)?;
            self.part.entries.push(Entry { hash: read.hash, name: inline, expires, id, set, length });
        }
        number(self.part.entries.len()).map(drop)
    }

    fn keep(&mut self, text: &str) -> Result<Span, Problem> {
        let (start, length) = (number(self.part.text.len())?, u16::try_from(text.len()));
        let length = length.map_err(|_| Problem::new("a value is too long", "write a shorter one"))?;
        self.part.text.push_str(text);
        Ok(Span { start, length })
    }

    fn set(&mut self, groups: &[String]) -> Result<u16, Problem> {
        if let Some(known) = self.sets.get(groups) {
            return Ok(*known);
        }
        let set = u16::try_from(self.part.sets.len()).map_err(|_| {
            Problem::new(
                "the file holds more than 65536 sets of groups",
                "put a part of it into another file",
            )
        })?;
        self.part.sets.push(self.known.set(groups));
        self.sets.insert(groups.to_vec(), set);
        Ok(set)
    }
}

/// A name as it stands in a credential.
fn inline(text: &str, span: Span) -> [u8; SHORT] {
    let mut inline = [0; SHORT];
    let start = span.start.to_le_bytes();
    let bytes = if text.len() <= SHORT { text.as_bytes() } else { &start };
    inline.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    inline
}

fn number(count: usize) -> Result<u32, Problem> {
    u32::try_from(count)
        .map_err(|_| Problem::new("the file holds too much", "put a part of it into another file"))
}

/// The second in which a credential ends; what is before all of them is over too.
fn seconds(time: SystemTime) -> Result<u32, Problem> {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).max(1);
    u32::try_from(seconds)
        .map_err(|_| Problem::new("`expires` is after 2106", "leave it out: the key does not expire"))
}

/// Where a credential stands in a table: a SHA-256 is as good a hash as any.
pub(super) fn slot(hash: &[u8; 32]) -> u64 {
    hash.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}
