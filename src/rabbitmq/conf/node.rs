//! What the node itself says of its configuration: its own schema's verdict, and which of its files' settings it does not run
//! with. One `rabbitmqctl eval` each; the same code works on 3.10 and 4.0 (`tests/lab/conf.rs`).

use super::schema;
use crate::host::ExecResult;
use crate::rabbitmq::cli;
use base64::Engine as _;

/// Everything both evaluations begin with: the schemas of all plugins, and `Read`, which takes a list of files through the
/// node's own reader and schema.
pub const READ: &str = r#"Ctx = rabbit_prelaunch:get_context(),
Schemas = lists:append([filelib:wildcard(D ++ "/*/priv/schema/*.schema") || D <- string:lexemes(maps:get(plugins_path, Ctx), ":")]),
Schema = cuttlefish_schema:files(lists:sort(Schemas)),
Say = fun(Es) -> [unicode:characters_to_binary(io_lib:format("~ts", [try cuttlefish_error:xlate(X) catch _:_ -> io_lib:format("~0tp", [X]) end])) || {error, X} <- Es] end,
Read = fun(Fs) ->
  case catch cuttlefish_conf:files(Fs) of
    {errorlist, E} -> {bad, Say(E)};
    {'EXIT', _} -> {bad, [<<"it cannot be read">>]};
    C ->
      case catch cuttlefish_generator:map(Schema, C) of
        {error, _, {errorlist, E}} -> {bad, Say(E)};
        {'EXIT', _} -> {bad, [<<"its values cannot be understood">>]};
        G -> {ok, C, G}
      end
  end
end,
Main = filename:rootname(maps:get(main_config_file, Ctx), ".conf") ++ ".conf",
Files = [F || F <- [Main | lists:sort(filelib:wildcard(maps:get(additional_config_files, Ctx)))], filelib:is_regular(F)],
"#;

/// Settings of the files on the host against those of the running node. Lines of `set KEY`, `unset KEY`, each with what the
/// files ask for and what runs; `stale` if a file changed after the node started; `bad MESSAGE` where it cannot read them.
/// Times of files are whole seconds. One of the second in which the VM started counts as read: who writes a file and then starts
/// the node may do both within a second, who waits for a start first does not.
///
/// Two values are asked of those who keep them, since they can be changed while the node runs; so is the level of the log (its
/// handler's number grows with each start of the application, as when a node joins: `rmq_2_file_1`). Of
/// what no file sets, the default counts, where one is known and the node does not fill it in by itself.
const COMPARE: &str = r#"Advanced = case file:consult(filename:rootname(Main, "rabbitmq.conf") ++ "advanced.config") of {ok, [L]} when is_list(L) -> L; _ -> [] end,
InAdvanced = fun(A, K) -> lists:keymember(K, 1, proplists:get_value(A, Advanced, [])) end,
Fetch = fun Fetch(P, []) -> P; Fetch(P, [H | T]) when is_list(P) -> case lists:keyfind(H, 1, P) of {_, V} -> Fetch(V, T); false -> undefined end; Fetch(_, _) -> undefined end,
Bytes = fun(V) when is_integer(V) -> V; (V) -> case catch rabbit_resource_monitor_misc:parse_information_unit(V) of {ok, N} -> N; _ -> V end end,
Memory = fun({absolute, V}) -> {absolute, Bytes(V)}; (V) -> V end,
Disk = fun({mem_relative, F}) -> trunc(F * vm_memory_monitor:get_total_memory()); (V) -> Bytes(V) end,
Ports = fun(L) when is_list(L) -> [case P of {"auto", N} -> N; _ -> P end || P <- L]; (V) -> V end,
Level = fun() -> case [maps:get(level, H) || H <- logger:get_handler_config(), lists:prefix("rmq_", atom_to_list(maps:get(id, H))), lists:suffix("_file_1", atom_to_list(maps:get(id, H)))] of [V | _] -> V; _ -> undefined end end,
Running = fun
  ([rabbit, vm_memory_high_watermark]) -> Memory(vm_memory_monitor:get_vm_memory_high_watermark());
  ([rabbit, disk_free_limit]) -> Disk(rabbit_disk_monitor:get_disk_free_limit());
  ([rabbit, log, file, level]) -> Level();
  ([rabbit, tcp_listeners]) -> Ports(element(2, application:get_env(rabbit, tcp_listeners)));
  ([A | T]) -> Fetch(application:get_all_env(A), T)
end,
Wanted = fun
  ([rabbit, vm_memory_high_watermark], V) -> Memory(V);
  ([rabbit, disk_free_limit], V) -> Disk(V);
  ([rabbit, tcp_listeners], V) -> Ports(V);
  (_, V) -> V
end,
Path = fun(M) -> [list_to_atom(X) || X <- string:lexemes(element(3, M), ".")] end,
Name = fun(V) -> lists:flatten(lists:join(".", [lists:flatmap(fun($.) -> "\\."; (X) -> [X] end, S) || S <- V])) end,
Line = fun(What, N, W, R) -> io_lib:format("~s\t~ts\t~0tp\t~0tp~n", [What, N, W, R]) end,
Text = case Read(Files) of
  {bad, Es} -> [["bad\t", E, "\n"] || E <- Es];
  {ok, Conf, Gen} ->
    Mappings = element(2, Schema),
    Found = [{V, Path(M)} || {V, _} <- Conf, M <- Mappings, cuttlefish_variable:is_fuzzy_match(V, element(2, M))],
    Set = [Line("set", Name(V), W, R) || {V, P = [A, K | _]} <- Found, not InAdvanced(A, K),
      W <- [Wanted(P, Fetch(Gen, P))], W =/= undefined, R <- [Running(P)], W =/= R],
    Tops = lists:usort([{A, K} || {_, [A, K | _]} <- Found]),
    Whole = [{A, K} || {A, K} <- Tops, not lists:member({A, K}, [{rabbit, log}, {rabbit, vm_memory_high_watermark}, {rabbit, disk_free_limit}, {rabbit, tcp_listeners}]),
      not InAdvanced(A, K), Fetch(Gen, [A, K]) =/= undefined, Fetch(Gen, [A, K]) =/= Running([A, K]),
      not lists:any(fun({_, P = [A1, K1 | _]}) -> {A1, K1} =:= {A, K} andalso Fetch(Gen, P) =/= Running(P) end, Found)],
    Env = fun(A) -> case code:where_is_file(atom_to_list(A) ++ ".app") of non_existing -> []; F -> {ok, [{application, _, Ps}]} = file:consult(F), proplists:get_value(env, Ps, []) end end,
    Loaded = [A || {A, _, _} <- application:loaded_applications()],
    Free = lists:usort([{A, K} || M <- Mappings, [A, K | _] <- [Path(M)], lists:member(A, Loaded)]) -- [{aten, poll_interval}, {rabbit, log} | Tops],
    Defaults = [{A, Env(A)} || A <- lists:usort([A || {A, _} <- Free])],
    Unset = [{A, K, W, R} || {A, K} <- Free, not InAdvanced(A, K),
      W0 <- [case Fetch(Gen, [A, K]) of undefined -> Fetch(Defaults, [A, K]); G -> G end], W0 =/= undefined orelse lists:prefix("rabbit", atom_to_list(A)),
      W <- [Wanted([A, K], W0)], R <- [Running([A, K])], R =/= undefined, W =/= R],
    First = fun(A, K) -> hd([Name(element(2, M)) || M <- Mappings, lists:prefix([A, K], Path(M))]) end,
    Started = erlang:convert_time_unit(erlang:system_info(start_time) + erlang:time_offset(), native, second),
    Changed = fun(F) -> case file:read_file_info(F, [{time, posix}]) of {ok, I} -> element(7, I); _ -> 0 end end,
    Stale = lists:any(fun(F) -> Changed(F) > Started end, [filename:dirname(maps:get(additional_config_files, Ctx)) | Files]),
    [["stale\n" || Stale], Set, [Line("unset", First(A, K), Fetch(Gen, [A, K]), Running([A, K])) || {A, K} <- Whole], [Line("unset", First(A, K), W, R) || {A, K, W, R} <- Unset]]
end,
base64:encode(unicode:characters_to_binary(["rmqplay\n", Text]))."#;

/// `ok` if the node can read its files with the one at `@NEW` in place of `@DEST`; otherwise an error with its own words.
const JUDGE: &str = r#"New = "@NEW", Dest = "@DEST",
Candidate = case lists:member(Dest, Files) of true -> [case F of Dest -> New; _ -> F end || F <- Files]; false when Dest =:= Main -> [New | Files]; false -> lists:sort(fun(A, B) -> (A =:= Main) orelse (B =/= Main andalso A =< B) end, Files) ++ [New] end,
base64:encode(unicode:characters_to_binary(case Read(Candidate) of {ok, _, _} -> ["rmqplay\n"]; {bad, Es} -> ["rmqplay\n" | [["bad\t", E, "\n"] || E <- Es]] end))."#;

/// A setting the running node does not have as its files say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// As in rabbitmq.conf; with a `$NAME` where many keys make one setting.
    pub key: String,
    /// A file sets it; otherwise it runs with something else than the default.
    pub is_set: bool,
    /// In Erlang's terms; not for keys whose value is secret.
    pub wanted: String,
    pub running: String,
}

/// What [`compare`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Running {
    /// No node answers: what stands in the files is what it will start with.
    No,
    /// It runs, and could not start again with its files: its own words.
    Unreadable(Vec<String>),
    Yes {
        differences: Vec<Difference>,
        /// A file changed after the node started. Otherwise it has read what stands there, and what differs is its own doing:
        /// a restart would change nothing.
        stale: bool,
    },
}

/// The command that compares files and node; it changes nothing.
pub fn compare() -> Vec<String> {
    cli::command("rabbitmqctl", ["-q", "eval", &format!("{READ}{COMPARE}")])
}

/// Reads the answer of [`compare`]. `Err`: it answered something else.
pub fn running(result: &ExecResult) -> Result<Running, String> {
    // 69 EX_UNAVAILABLE: no node there; 127: no tool.
    if !result.ok() {
        return match result.rc {
            69 | 64 | 2 | 126 | 127 => Ok(Running::No),
            _ => Err(result.stderr.text().trim().to_owned()),
        };
    }
    if result.stdout.text().trim().is_empty() {
        // No node says nothing; commands of `--simulate` do.
        return Ok(Running::No);
    }
    let text = answer(&result.stdout.text()).ok_or("its answer could not be read")?;
    let bad: Vec<String> = bad(&text);
    if !bad.is_empty() {
        return Ok(Running::Unreadable(bad));
    }
    Ok(Running::Yes {
        differences: text.lines().filter_map(difference).collect(),
        stale: text.lines().any(|l| l == "stale"),
    })
}

fn difference(line: &str) -> Option<Difference> {
    let mut columns = line.split('\t');
    let (what, key, wanted, running) = (columns.next()?, columns.next()?, columns.next()?, columns.next()?);
    let shown = |value: &str| {
        if schema::is_secret(key) {
            return "(secret)".to_owned();
        }
        if value == "undefined" {
            return "(default)".to_owned();
        }
        let short: String = value.chars().take(60).collect();
        if short.len() < value.len() {
            format!("{short}...")
        } else {
            short
        }
    };
    matches!(what, "set" | "unset").then(|| Difference {
        key: key.to_owned(),
        is_set: what == "set",
        wanted: shown(wanted),
        running: shown(running),
    })
}

/// The text in the last binary that was printed; before it stands what the node logs of its own.
fn answer(stdout: &str) -> Option<String> {
    let start = stdout.rfind("<<\"")?;
    let encoded: String = stdout
        .get(start + 3..)?
        .chars()
        .take_while(|c| *c != '>')
        .filter(|c| c.is_ascii_alphanumeric() || "+/=".contains(*c))
        .collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes)
        .ok()?
        .strip_prefix("rmqplay\n")
        .map(str::to_owned)
}

fn bad(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|l| l.strip_prefix("bad\t"))
        .map(str::to_owned)
        .collect()
}

/// Checks a candidate, at `%s`, before it takes the place of `dest`: fails with the node's words.
pub fn validate(dest: &str) -> Vec<String> {
    let judge = JUDGE.replace("@NEW", "%s").replace("@DEST", &escaped(dest));
    let mut argv: Vec<String> = ["sh", "-c", VALIDATE, "rabbitmq-conf"].map(str::to_owned).to_vec();
    argv.extend(cli::command("rabbitmqctl", ["-q", "eval", &format!("{READ}{judge}")]));
    argv
}

/// Runs the command it is given; what the node says of the file goes to standard error, and an answer that holds no word of
/// it is the only good one. (No `%s` here: that is the file.)
const VALIDATE: &str = r#"said=$("$@" 2>&1 </dev/null) || { echo "$said" >&2; exit 1; }
text=$(echo "$said" | tr -d '\n "' | sed 's/.*<<\([A-Za-z0-9+/=]*\)>>.*/\1/' | base64 -d 2>/dev/null)
case $text in
rmqplay) exit 0 ;;
rmqplay*) echo "$text" | sed -n 's/^bad	//p' >&2; exit 1 ;;
*) echo "$said" >&2; exit 1 ;;
esac"#;

/// For a string of Erlang's.
fn escaped(path: &str) -> String {
    path.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Content;

    fn result(rc: i32, text: &str) -> ExecResult {
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        // As Erlang prints a long binary, after a line of the node's log.
        let (front, back) = encoded.split_at(encoded.len() / 2);
        ExecResult {
            rc,
            stdout: Content::from(format!("12:00 [error] <<\"x\n\n<<\"{front}\"\n  \"{back}\">>\n")),
            ..ExecResult::default()
        }
    }

    #[test]
    fn answers_are_read() {
        let text = "rmqplay\nstale\nset\theartbeat\t20\t60\nunset\tssl_options\t[]\t[{verify,verify_none}]\nset\tdefault_pass\t<<\"x\">>\t<<\"y\">>\n";
        let Running::Yes {
            differences: found,
            stale,
        } = running(&result(0, text)).unwrap()
        else {
            panic!()
        };
        assert!(stale);
        let keys: Vec<(&str, bool, &str)> = found
            .iter()
            .map(|d| (d.key.as_str(), d.is_set, d.running.as_str()))
            .collect();
        assert_eq!(
            keys,
            [
                ("heartbeat", true, "60"),
                ("ssl_options", false, "[{verify,verify_none}]"),
                ("default_pass", true, "(secret)")
            ]
        );
        assert_eq!(
            running(&result(0, "rmqplay\nbad\tno such key\n")),
            Ok(Running::Unreadable(vec!["no such key".to_owned()]))
        );
        assert_eq!(running(&result(69, "")), Ok(Running::No));
        assert!(running(&result(0, "something else")).is_err());
        assert!(running(&result(70, "")).is_err());
    }
}
