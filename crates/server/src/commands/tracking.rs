//! `CLIENT TRACKING` and what belongs to it.

use crate::call::Call;
use crate::commands::{integer, is};
use crate::error::{CommandError, CommandResult};
use crate::session::ClientId;
use crate::tracking::Tracking;

pub(super) fn tracking(call: &mut Call<'_, '_>) -> CommandResult {
    let on = match call.args[2] {
        word if is(word, "on") => true,
        word if is(word, "off") => false,
        _ => return Err(CommandError::syntax()),
    };
    let mut wanted = options(call)?;
    if !on {
        if call.session.tracking.take().is_some() {
            call.state.tracking.disable(call.session.id);
        }
        call.reply.ok();
        return Ok(());
    }
    check(call, &wanted)?;
    if wanted.bcast && wanted.prefixes.is_empty() && call.session.tracking.is_none() {
        wanted.prefixes.push(Vec::new());
    }
    if let Some(before) = &call.session.tracking {
        // Prefixes add up.
        for prefix in &before.prefixes {
            if !wanted.prefixes.contains(prefix) {
                wanted.prefixes.push(prefix.clone());
            }
        }
    }
    call.state.tracking.enable(call.session.id, &wanted);
    call.session.tracking = Some(wanted);
    call.reply.ok();
    Ok(())
}

fn options(call: &Call<'_, '_>) -> Result<Tracking, CommandError> {
    let mut wanted = Tracking::default();
    let mut rest = &call.args[3..];
    while let Some((word, after)) = rest.split_first() {
        rest = after;
        match word.to_ascii_lowercase().as_slice() {
            b"redirect" => {
                let (id, after) = rest.split_first().ok_or_else(CommandError::syntax)?;
                rest = after;
                if wanted.redirect.is_some() {
                    return Err(CommandError::new(
                        "ERR A client can only redirect to a single other client",
                    ));
                }
                let id = ClientId(integer(id)?.max(0) as u64);
                if call.state.clients.protocol(id).is_none() {
                    return Err(CommandError::new(
                        "ERR The client ID you want redirect to does not exist",
                    ));
                }
                wanted.redirect = Some(id);
            }
            b"bcast" => wanted.bcast = true,
            b"optin" => wanted.optin = true,
            b"optout" => wanted.optout = true,
            b"noloop" => wanted.noloop = true,
            b"prefix" => {
                let (prefix, after) = rest.split_first().ok_or_else(CommandError::syntax)?;
                rest = after;
                wanted.prefixes.push(prefix.to_vec());
            }
            _ => return Err(CommandError::syntax()),
        }
    }
    Ok(wanted)
}

/// Refuses options that can't hold together.
fn check(call: &Call<'_, '_>, wanted: &Tracking) -> CommandResult {
    let refuse = |why: &'static str| Err(CommandError::new(why));
    if !wanted.bcast && !wanted.prefixes.is_empty() {
        return refuse("ERR PREFIX option requires BCAST mode to be enabled");
    }
    if let Some(before) = &call.session.tracking {
        if before.bcast != wanted.bcast {
            return refuse(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
            );
        }
        if (wanted.optin && before.optout) || (wanted.optout && before.optin) {
            return refuse(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
            );
        }
    }
    if wanted.bcast && (wanted.optin || wanted.optout) {
        return refuse("ERR OPTIN and OPTOUT are not compatible with BCAST");
    }
    if wanted.optin && wanted.optout {
        return refuse("ERR You can't specify both OPTIN mode and OPTOUT mode");
    }
    let before = call
        .session
        .tracking
        .iter()
        .flat_map(|tracking| &tracking.prefixes);
    let known: Vec<&Vec<u8>> = before.collect();
    for (i, prefix) in wanted.prefixes.iter().enumerate() {
        let overlaps =
            |other: &Vec<u8>| other != prefix && (other.starts_with(prefix) || prefix.starts_with(other));
        if let Some(other) = known.iter().copied().find(|other| overlaps(other)) {
            return Err(overlap(prefix, other, "an existing prefix"));
        }
        if let Some(other) = wanted.prefixes[i + 1..]
            .iter()
            .find(|other| overlaps(other) || *other == prefix)
        {
            return Err(overlap(prefix, other, "another provided prefix"));
        }
    }
    Ok(())
}

fn overlap(prefix: &[u8], other: &[u8], what: &str) -> CommandError {
    let (prefix, other) = (String::from_utf8_lossy(prefix), String::from_utf8_lossy(other));
    CommandError::new(format!(
        "ERR Prefix '{prefix}' overlaps with {what} '{other}'. Prefixes for a single client must not overlap."
    ))
}

pub(super) fn caching(call: &mut Call<'_, '_>) -> CommandResult {
    let tracking = call
        .session
        .tracking
        .as_ref()
        .filter(|tracking| tracking.optin || tracking.optout);
    let Some(tracking) = tracking else {
        return Err(CommandError::new(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ));
    };
    let yes = match call.args[2] {
        word if is(word, "yes") => true,
        word if is(word, "no") => false,
        _ => return Err(CommandError::syntax()),
    };
    if yes && !tracking.optin {
        return Err(CommandError::new(
            "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        ));
    }
    if !yes && !tracking.optout {
        return Err(CommandError::new(
            "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        ));
    }
    call.session.caching = Some(yes);
    call.reply.ok();
    Ok(())
}

pub(super) fn getredir(call: &mut Call<'_, '_>) -> CommandResult {
    let redirect = match &call.session.tracking {
        None => -1,
        Some(tracking) => tracking.redirect.map_or(0, |id| id.0 as i64),
    };
    call.reply.integer(redirect);
    Ok(())
}

pub(super) fn trackinginfo(call: &mut Call<'_, '_>) -> CommandResult {
    let mut flags = Vec::new();
    let mut redirect = -1;
    let mut prefixes: &[Vec<u8>] = &[];
    match &call.session.tracking {
        None => flags.push("off"),
        Some(tracking) => {
            flags.push("on");
            let caching = call.session.caching;
            for (is, name) in [
                (tracking.bcast, "bcast"),
                (tracking.optin, "optin"),
                (tracking.optin && caching == Some(true), "caching-yes"),
                (tracking.optout, "optout"),
                (tracking.optout && caching == Some(false), "caching-no"),
                (tracking.noloop, "noloop"),
                (tracking.broken, "broken_redirect"),
            ] {
                if is {
                    flags.push(name);
                }
            }
            redirect = tracking.redirect.map_or(0, |id| id.0 as i64);
            prefixes = &tracking.prefixes;
        }
    }
    let reply = &mut *call.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.integer(redirect);
    reply.bulk(b"prefixes");
    reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(())
}
