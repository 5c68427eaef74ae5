//! What to do about a router's refusals: its own words say what is wrong, and mostly not how to mend it.

/// What to do about a refusal of a router, where its own words leave that open.
pub fn advice(code: i32, message: &str) -> Option<&'static str> {
    const ALREADY: [&str; 2] = ["already exists", "is already a member of"];
    const UNREACHABLE: [i32; 3] = [133, 6, 7];
    let says = |words: &str| message.contains(words);
    let text = match code {
        20 if says("last shard") => "the last shard is never removed: add another first",
        20 if says("mongos") => "the members are routers: deploy mongod with --shardsvr",
        _ if ALREADY.iter().any(|w| says(w)) => {
            "another shard has this set's name or a member of it: give this service another --replSet"
        }
        _ if says("implicit default write concern") => {
            "with an arbiter writes would not reach a majority: remove the arbiter, or run setDefaultRWConcern with defaultWriteConcern {w: \"majority\"} on a router"
        }
        _ if says("CWWC") || says("cluster-wide write concern") => {
            "run setDefaultRWConcern on a router with the shard's defaultWriteConcern, so that both are the same"
        }
        _ if says("because a local database") => {
            "a database of this name is in the cluster already: drop the one on the new shard, or deploy it with an empty volume"
        }
        _ if says("config.system.sessions") => "drop config.system.sessions on the new shard",
        _ if says("it is a config server") => "deploy it with --shardsvr instead of --configsvr",
        _ if says("E11000") || says("shardIdentity") => {
            "it was a shard of another cluster: deploy it with an empty volume"
        }
        _ if says("does not belong to replica set")
            || says("does not match the actual set name")
            || says("is part of set")
            || says("did not return a set name") =>
        {
            "members and set do not fit together: check --replSet and host names"
        }
        188 => {
            "its version does not fit the cluster's featureCompatibilityVersion: use the cluster's image"
        }
        5_563_603 => {
            "the cluster's featureCompatibilityVersion is being changed: finish that first (setFeatureCompatibilityVersion)"
        }
        163 => "the zone has no other shard: give it one (sh.addShardToZone), or remove its ranges",
        72 | 13 => "swarmset needs __system there, by the cluster's key file",
        code if UNREACHABLE.contains(&code) => {
            "the cluster does not reach its primary: check networks and host names"
        }
        _ => return None,
    };
    Some(text)
}
