//! What arguments commands take, as `COMMAND DOCS` tells it: the column of the table that is longer than all others.
//!
//! ```text
//! name            an argument; name:integer says of what type, if not a string
//! NX              a word that stands there or not
//! EX=seconds      an argument after that word
//! order(A | B)    one of these
//! pair{a b}       these together
//! ?               after an argument: it may be left out
//! *               it may come several times; *+ with its word each time
//! ```

/// An argument of a command, or several that belong together.
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) name: String,
    /// As Redis calls it: `string`, `integer`, `double`, `key`, `pattern`, `unix-time`, `pure-token`, `oneof` or `block`.
    pub(crate) kind: &'static str,
    /// The word before it.
    pub(crate) token: Option<&'static str>,
    pub(crate) is_optional: bool,
    pub(crate) is_multiple: bool,
    pub(crate) repeats_token: bool,
    /// What it is one of, or made of.
    pub(crate) parts: Vec<Argument>,
}

/// The arguments of the command of that name, in their order; none for a command that takes none.
pub(crate) fn arguments(command: &str) -> Vec<Argument> {
    let row = SYNTAX.binary_search_by_key(&command, |(name, _)| *name);
    let mut reader = Reader {
        rest: row.map_or("", |row| SYNTAX[row].1),
    };
    reader.arguments()
}

/// Reads a row. It does not complain: a test reads all of them.
struct Reader {
    rest: &'static str,
}

impl Reader {
    fn arguments(&mut self) -> Vec<Argument> {
        let mut arguments = Vec::new();
        loop {
            self.rest = self.rest.trim_start_matches([' ', '|']);
            if self.rest.is_empty() || self.rest.starts_with([')', '}']) {
                return arguments;
            }
            let before = self.rest.len();
            arguments.push(self.argument());
            if self.rest.len() == before {
                return arguments;
            }
        }
    }

    fn argument(&mut self) -> Argument {
        let (mut name, mut token) = (self.word(), None);
        if self.eat('=') {
            (token, name) = (Some(name), self.word());
        }
        let is_word = token.is_none() && !name.contains(|c: char| c.is_ascii_lowercase());
        let (mut parts, mut kind) = (Vec::new(), "string");
        if self.eat('(') {
            (parts, kind) = (self.arguments(), "oneof");
            self.eat(')');
        } else if self.eat('{') {
            (parts, kind) = (self.arguments(), "block");
            self.eat('}');
        } else if self.eat(':') {
            kind = self.word();
        } else if is_word {
            (token, kind) = (Some(name), "pure-token");
        }
        Argument {
            name: name.to_ascii_lowercase(),
            kind,
            token,
            is_multiple: self.eat('*'),
            repeats_token: self.eat('+'),
            is_optional: self.eat('?'),
            parts,
        }
    }

    fn word(&mut self) -> &'static str {
        let end = self
            .rest
            .find([' ', '=', ':', '(', ')', '{', '}', '|', '*', '+', '?']);
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn eat(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

/// Names of commands, sorted, and their arguments.
#[rustfmt::skip]
const SYNTAX: &[(&str, &str)] = &[
    ("acl|cat", "categoryname?"),
    ("acl|deluser", "username*"),
    ("acl|dryrun", "username command arg*?"),
    ("acl|genpass", "bits:integer?"),
    ("acl|getuser", "username"),
    ("acl|log", "operation(count:integer | RESET)?"),
    ("acl|setuser", "username rule*?"),
    ("append", "key:key value"),
    ("auth", "username? password"),
    ("bgsave", "SCHEDULE?"),
    ("bitcount", "key:key index{start:integer end:integer index_unit(BYTE | BIT)?}?"),
    ("bitfield", "key:key operation(GET=encoding_offset{encoding offset:integer} | write{OVERFLOW=wrap_sat_fail(WRAP | SAT | FAIL)? write_operation(SET=encoding_offset_value{encoding offset:integer value:integer} | INCRBY=encoding_offset_increment{encoding offset:integer increment:integer})})*?"),
    ("bitfield_ro", "key:key GET=encoding_offset{encoding offset:integer}*+?"),
    ("bitop", "operation destkey:key key:key*"),
    ("bitpos", "key:key bit:integer index{start:integer end_index{end:integer index_unit(BYTE | BIT)?}?}?"),
    ("blmove", "source:key destination:key wherefrom(LEFT | RIGHT) whereto(LEFT | RIGHT) timeout:double"),
    ("blmpop", "timeout:double numkeys:integer key:key* where(LEFT | RIGHT) COUNT=count:integer?"),
    ("blpop", "key:key* timeout:double"),
    ("brpop", "key:key* timeout:double"),
    ("brpoplpush", "source:key destination:key timeout:double"),
    ("bzmpop", "timeout:double numkeys:integer key:key* where(MIN | MAX) COUNT=count:integer?"),
    ("bzpopmax", "key:key* timeout:double"),
    ("bzpopmin", "key:key* timeout:double"),
    ("client|caching", "mode(YES | NO)"),
    ("client|kill", "filter(address | filters(ID=client-id:integer | TYPE=type(NORMAL | MASTER | SLAVE | REPLICA | PUBSUB) | USER=username | ADDR=address | LADDR=address | SKIPME=skipme(YES | NO))*)"),
    ("client|list", "TYPE=type(NORMAL | MASTER | REPLICA | PUBSUB)? ID=client-id:integer*?"),
    ("client|no-evict", "enabled(ON | OFF)"),
    ("client|no-touch", "enabled(ON | OFF)"),
    ("client|pause", "timeout:integer mode(WRITE | ALL)?"),
    ("client|reply", "on_off_skip(ON | OFF | SKIP)"),
    ("client|setinfo", "attribute(LIB-NAME=libname | LIB-VER=libver)"),
    ("client|setname", "connection-name"),
    ("client|tracking", "status(ON | OFF) REDIRECT=client-id:integer? PREFIX=prefix*+? BCAST? OPTIN? OPTOUT? NOLOOP?"),
    ("client|unblock", "client-id:integer timeout_error(TIMEOUT | ERROR)?"),
    ("cluster|events", "number:integer?"),
    ("cluster|join", "node? WEIGHT=weight:integer? ZONE=zone:integer?"),
    ("cluster|leave", "node?"),
    ("cluster|replace", "old new WEIGHT=weight:integer? ZONE=zone:integer?"),
    ("command|docs", "command-name*?"),
    ("command|getkeys", "command arg*?"),
    ("command|getkeysandflags", "command arg*?"),
    ("command|info", "command-name*?"),
    ("command|list", "FILTERBY=filterby(MODULE=module-name | ACLCAT=category | PATTERN=pattern:pattern)?"),
    ("config|get", "parameter*"),
    ("config|set", "parameter_value{parameter value}*"),
    ("copy", "source:key destination:key DB=destination-db:integer? REPLACE?"),
    ("debug", "subcommand arg*?"),
    ("decr", "key:key"),
    ("decrby", "key:key decrement:integer"),
    ("del", "key:key*"),
    ("dump", "key:key"),
    ("echo", "message"),
    ("exists", "key:key*"),
    ("expire", "key:key seconds:integer condition(NX | XX | GT | LT)?"),
    ("expireat", "key:key unix-time-seconds:unix-time condition(NX | XX | GT | LT)?"),
    ("expiretime", "key:key"),
    ("flushall", "async(ASYNC | SYNC)?"),
    ("flushdb", "async(ASYNC | SYNC)?"),
    ("function|flush", "async(ASYNC | SYNC)?"),
    ("function|list", "LIBRARYNAME=library-name-pattern? WITHCODE?"),
    ("geoadd", "key:key condition(NX | XX)? CH? data{longitude:double latitude:double member}*"),
    ("geodist", "key:key member1 member2 unit(M | KM | FT | MI)?"),
    ("geohash", "key:key member*?"),
    ("geopos", "key:key member*?"),
    ("georadius", "key:key longitude:double latitude:double radius:double unit(M | KM | FT | MI) WITHCOORD? WITHDIST? WITHHASH? count-block{COUNT=count:integer ANY?}? order(ASC | DESC)? store(STORE=storekey:key | STOREDIST=storedistkey:key)?"),
    ("georadius_ro", "key:key longitude:double latitude:double radius:double unit(M | KM | FT | MI) WITHCOORD? WITHDIST? WITHHASH? count-block{COUNT=count:integer ANY?}? order(ASC | DESC)?"),
    ("georadiusbymember", "key:key member radius:double unit(M | KM | FT | MI) WITHCOORD? WITHDIST? WITHHASH? count-block{COUNT=count:integer ANY?}? order(ASC | DESC)? store(STORE=storekey:key | STOREDIST=storedistkey:key)?"),
    ("georadiusbymember_ro", "key:key member radius:double unit(M | KM | FT | MI) WITHCOORD? WITHDIST? WITHHASH? count-block{COUNT=count:integer ANY?}? order(ASC | DESC)?"),
    ("geosearch", "key:key from(FROMMEMBER=member | fromlonlat{FROMLONLAT=longitude:double latitude:double}) by(circle{BYRADIUS=radius:double unit(M | KM | FT | MI)} | box{BYBOX=width:double height:double unit(M | KM | FT | MI)}) order(ASC | DESC)? count-block{COUNT=count:integer ANY?}? WITHCOORD? WITHDIST? WITHHASH?"),
    ("geosearchstore", "destination:key source:key from(FROMMEMBER=member | fromlonlat{FROMLONLAT=longitude:double latitude:double}) by(circle{BYRADIUS=radius:double unit(M | KM | FT | MI)} | box{BYBOX=width:double height:double unit(M | KM | FT | MI)}) order(ASC | DESC)? count-block{COUNT=count:integer ANY?}? STOREDIST?"),
    ("get", "key:key"),
    ("getbit", "key:key offset:integer"),
    ("getdel", "key:key"),
    ("getex", "key:key expiration(EX=seconds:integer | PX=milliseconds:integer | EXAT=unix-time-seconds:unix-time | PXAT=unix-time-milliseconds:unix-time | PERSIST)?"),
    ("getrange", "key:key start:integer end:integer"),
    ("getset", "key:key value"),
    ("hdel", "key:key field*"),
    ("hello", "arguments{protover:integer AUTH=username_password{username password}? SETNAME=clientname?}?"),
    ("hexists", "key:key field"),
    ("hget", "key:key field"),
    ("hgetall", "key:key"),
    ("hincrby", "key:key field increment:integer"),
    ("hincrbyfloat", "key:key field increment:double"),
    ("hkeys", "key:key"),
    ("hlen", "key:key"),
    ("hmget", "key:key field*"),
    ("hmset", "key:key field_value{field value}*"),
    ("hrandfield", "key:key options{count:integer WITHVALUES?}?"),
    ("hscan", "key:key cursor:integer MATCH=pattern:pattern? COUNT=count:integer?"),
    ("hset", "key:key field_value{field value}*"),
    ("hsetnx", "key:key field value"),
    ("hstrlen", "key:key field"),
    ("hvals", "key:key"),
    ("incr", "key:key"),
    ("incrby", "key:key increment:integer"),
    ("incrbyfloat", "key:key increment:double"),
    ("info", "section*?"),
    ("keys", "pattern:pattern"),
    ("latency|graph", "event"),
    ("latency|histogram", "command*?"),
    ("latency|history", "event"),
    ("latency|reset", "event*?"),
    ("lcs", "key1:key key2:key LEN? IDX? MINMATCHLEN=len:integer? WITHMATCHLEN?"),
    ("lindex", "key:key index:integer"),
    ("linsert", "key:key where(BEFORE | AFTER) pivot element"),
    ("llen", "key:key"),
    ("lmove", "source:key destination:key wherefrom(LEFT | RIGHT) whereto(LEFT | RIGHT)"),
    ("lmpop", "numkeys:integer key:key* where(LEFT | RIGHT) COUNT=count:integer?"),
    ("lolwut", "VERSION=version:integer?"),
    ("lpop", "key:key count:integer?"),
    ("lpos", "key:key element RANK=rank:integer? COUNT=num-matches:integer? MAXLEN=len:integer?"),
    ("lpush", "key:key element*"),
    ("lpushx", "key:key element*"),
    ("lrange", "key:key start:integer stop:integer"),
    ("lrem", "key:key count:integer element"),
    ("lset", "key:key index:integer element"),
    ("ltrim", "key:key start:integer stop:integer"),
    ("memory|usage", "key:key SAMPLES=count:integer?"),
    ("mget", "key:key*"),
    ("migrate", "host port:integer key-selector(key:key | EMPTY) destination-db:integer timeout:integer COPY? REPLACE? authentication(AUTH=password | auth2{AUTH2=username password})? KEYS=keys:key*?"),
    ("module|load", "path arg*?"),
    ("module|unload", "name"),
    ("move", "key:key db:integer"),
    ("mset", "key_value{key:key value}*"),
    ("msetnx", "key_value{key:key value}*"),
    ("object|encoding", "key:key"),
    ("object|freq", "key:key"),
    ("object|idletime", "key:key"),
    ("object|refcount", "key:key"),
    ("persist", "key:key"),
    ("pexpire", "key:key milliseconds:integer condition(NX | XX | GT | LT)?"),
    ("pexpireat", "key:key unix-time-milliseconds:unix-time condition(NX | XX | GT | LT)?"),
    ("pexpiretime", "key:key"),
    ("pfadd", "key:key element*?"),
    ("pfcount", "key:key*"),
    ("pfdebug", "subcommand key:key"),
    ("pfmerge", "destkey:key sourcekey:key*?"),
    ("ping", "message?"),
    ("psetex", "key:key milliseconds:integer value"),
    ("psubscribe", "pattern:pattern*"),
    ("pttl", "key:key"),
    ("publish", "channel message"),
    ("pubsub|channels", "pattern:pattern?"),
    ("pubsub|numsub", "channel*?"),
    ("pubsub|shardchannels", "pattern:pattern?"),
    ("pubsub|shardnumsub", "shardchannel*?"),
    ("punsubscribe", "pattern:pattern*?"),
    ("rename", "key:key newkey:key"),
    ("renamenx", "key:key newkey:key"),
    ("restore", "key:key ttl:integer serialized-value REPLACE? ABSTTL? IDLETIME=seconds:integer? FREQ=frequency:integer?"),
    ("rpop", "key:key count:integer?"),
    ("rpoplpush", "source:key destination:key"),
    ("rpush", "key:key element*"),
    ("rpushx", "key:key element*"),
    ("sadd", "key:key member*"),
    ("scan", "cursor:integer MATCH=pattern:pattern? COUNT=count:integer? TYPE=type?"),
    ("scard", "key:key"),
    ("sdiff", "key:key*"),
    ("sdiffstore", "destination:key key:key*"),
    ("select", "index:integer"),
    ("set", "key:key value condition(NX | XX)? GET? expiration(EX=seconds:integer | PX=milliseconds:integer | EXAT=unix-time-seconds:unix-time | PXAT=unix-time-milliseconds:unix-time | KEEPTTL)?"),
    ("setbit", "key:key offset:integer value:integer"),
    ("setex", "key:key seconds:integer value"),
    ("setnx", "key:key value"),
    ("setrange", "key:key offset:integer value"),
    ("shutdown", "nosave_save(NOSAVE | SAVE)? NOW? FORCE? ABORT?"),
    ("sinter", "key:key*"),
    ("sintercard", "numkeys:integer key:key* LIMIT=limit:integer?"),
    ("sinterstore", "destination:key key:key*"),
    ("sismember", "key:key member"),
    ("slowlog|get", "count:integer?"),
    ("smembers", "key:key"),
    ("smismember", "key:key member*"),
    ("smove", "source:key destination:key member"),
    ("sort", "key:key BY=pattern:pattern? LIMIT=offset_count{offset:integer count:integer}? GET=pattern:pattern*+? order(ASC | DESC)? ALPHA=sorting:pure-token? STORE=destination:key?"),
    ("sort_ro", "key:key BY=pattern:pattern? LIMIT=offset_count{offset:integer count:integer}? GET=pattern:pattern*+? order(ASC | DESC)? ALPHA=sorting:pure-token?"),
    ("spop", "key:key count:integer?"),
    ("spublish", "shardchannel message"),
    ("srandmember", "key:key count:integer?"),
    ("srem", "key:key member*"),
    ("sscan", "key:key cursor:integer MATCH=pattern:pattern? COUNT=count:integer?"),
    ("ssubscribe", "shardchannel*"),
    ("strlen", "key:key"),
    ("subscribe", "channel*"),
    ("substr", "key:key start:integer end:integer"),
    ("sunion", "key:key*"),
    ("sunionstore", "destination:key key:key*"),
    ("sunsubscribe", "shardchannel*?"),
    ("swapdb", "index1:integer index2:integer"),
    ("touch", "key:key*"),
    ("ttl", "key:key"),
    ("type", "key:key"),
    ("unlink", "key:key*"),
    ("unsubscribe", "channel*?"),
    ("wait", "numreplicas:integer timeout:integer"),
    ("waitaof", "numlocal:integer numreplicas:integer timeout:integer"),
    ("watch", "key:key*"),
    ("weald.bucket|create", "path"),
    ("weald.bucket|del", "path name"),
    ("weald.bucket|drop", "path"),
    ("weald.bucket|get", "path name"),
    ("weald.bucket|len", "path"),
    ("weald.bucket|list", "path?"),
    ("weald.bucket|put", "path name value"),
    ("weald.bucket|scan", "path bound(FROM=from | TO=to | PREFIX=prefix)*? COUNT=count:integer? REV?"),
    ("weald.consistency", "level*?"),
    ("weald.durability", "level(IMMEDIATE | BATCHED | NONE | DEFAULT)?"),
    ("weald.local", "key:key"),
    ("weald.tree|create", "path kind(PLAIN | SUM | COUNT)?"),
    ("weald.tree|del", "path name"),
    ("weald.tree|drop", "path"),
    ("weald.tree|get", "path name"),
    ("weald.tree|prove", "path bound(KEY=name | PREFIX=prefix | FROM=from | TO=to)*? OFFSET=offset:integer? LIMIT=limit:integer? REV? TOTALS?"),
    ("weald.tree|put", "path name element(value | SUM=number:integer | REF=path)"),
    ("weald.tree|query", "path bound(KEY=name | PREFIX=prefix | FROM=from | TO=to)*? OFFSET=offset:integer? LIMIT=limit:integer? REV? TOTALS?"),
    ("weald.with", "level command arg*?"),
    ("zadd", "key:key condition(NX | XX)? comparison(GT | LT)? CH=change:pure-token? INCR=increment:pure-token? score_member{score:double member}*"),
    ("zcard", "key:key"),
    ("zcount", "key:key min:double max:double"),
    ("zdiff", "numkeys:integer key:key* WITHSCORES?"),
    ("zdiffstore", "destination:key numkeys:integer key:key*"),
    ("zincrby", "key:key increment:double member"),
    ("zinter", "numkeys:integer key:key* WEIGHTS=weight:integer*? AGGREGATE=aggregate(SUM | MIN | MAX)? WITHSCORES?"),
    ("zintercard", "numkeys:integer key:key* LIMIT=limit:integer?"),
    ("zinterstore", "destination:key numkeys:integer key:key* WEIGHTS=weight:integer*? AGGREGATE=aggregate(SUM | MIN | MAX)?"),
    ("zlexcount", "key:key min max"),
    ("zmpop", "numkeys:integer key:key* where(MIN | MAX) COUNT=count:integer?"),
    ("zmscore", "key:key member*"),
    ("zpopmax", "key:key count:integer?"),
    ("zpopmin", "key:key count:integer?"),
    ("zrandmember", "key:key options{count:integer WITHSCORES?}?"),
    ("zrange", "key:key start stop sortby(BYSCORE | BYLEX)? REV? LIMIT=offset_count{offset:integer count:integer}? WITHSCORES?"),
    ("zrangebylex", "key:key min max LIMIT=offset_count{offset:integer count:integer}?"),
    ("zrangebyscore", "key:key min:double max:double WITHSCORES? LIMIT=offset_count{offset:integer count:integer}?"),
    ("zrangestore", "dst:key src:key min max sortby(BYSCORE | BYLEX)? REV? LIMIT=offset_count{offset:integer count:integer}?"),
    ("zrank", "key:key member WITHSCORE?"),
    ("zrem", "key:key member*"),
    ("zremrangebylex", "key:key min max"),
    ("zremrangebyrank", "key:key start:integer stop:integer"),
    ("zremrangebyscore", "key:key min:double max:double"),
    ("zrevrange", "key:key start:integer stop:integer WITHSCORES?"),
    ("zrevrangebylex", "key:key max min LIMIT=offset_count{offset:integer count:integer}?"),
    ("zrevrangebyscore", "key:key max:double min:double WITHSCORES? LIMIT=offset_count{offset:integer count:integer}?"),
    ("zrevrank", "key:key member WITHSCORE?"),
    ("zscan", "key:key cursor:integer MATCH=pattern:pattern? COUNT=count:integer?"),
    ("zscore", "key:key member"),
    ("zunion", "numkeys:integer key:key* WEIGHTS=weight:integer*? AGGREGATE=aggregate(SUM | MIN | MAX)? WITHSCORES?"),
    ("zunionstore", "destination:key numkeys:integer key:key* WEIGHTS=weight:integer*? AGGREGATE=aggregate(SUM | MIN | MAX)?"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::registry;

    const KINDS: [&str; 9] = [
        "string",
        "integer",
        "double",
        "key",
        "pattern",
        "unix-time",
        "pure-token",
        "oneof",
        "block",
    ];

    /// The fewest words that stand for an argument, and whether it can be more.
    fn words(argument: &Argument) -> (usize, bool) {
        assert!(KINDS.contains(&argument.kind), "{argument:?}");
        assert!(!argument.name.is_empty(), "{argument:?}");
        let token = usize::from(argument.token.is_some());
        let parts: Vec<(usize, bool)> = argument.parts.iter().map(words).collect();
        let (least, varies) = match argument.kind {
            "oneof" => {
                let least = parts.iter().map(|part| part.0).min().expect("there are some");
                (token + least, parts.iter().any(|part| part.1 || part.0 != least))
            }
            "block" => (
                token + parts.iter().map(|part| part.0).sum::<usize>(),
                parts.iter().any(|part| part.1),
            ),
            "pure-token" => (1, false),
            _ => (token + 1, false),
        };
        if argument.is_optional {
            (0, true)
        } else {
            (least, varies || argument.is_multiple)
        }
    }

    #[test]
    fn what_is_told_of_arguments_agrees_with_the_table() {
        assert!(SYNTAX.is_sorted());
        for (name, row) in SYNTAX {
            assert!(registry().find(name.as_bytes()).is_some(), "{name} is no command");
            let mut reader = Reader { rest: row };
            reader.arguments();
            assert_eq!(reader.rest, "", "{name}: the row ends in the middle");
        }
        for found in registry().all() {
            let command = found.command;
            // What follows the first word of a container is the subcommand; QUIT takes whatever comes, as in Redis.
            if !command.subcommands().is_empty() || command.name == "quit" {
                continue;
            }
            let told: Vec<(usize, bool)> = arguments(command.name).iter().map(words).collect();
            let least =
                1 + command.name.matches('|').count() + told.iter().map(|words| words.0).sum::<usize>();
            let varies = told.iter().any(|words| words.1);
            let told = if varies { -(least as i32) } else { least as i32 };
            assert_eq!(told, command.arity, "{}", command.name);
        }
    }
}
