//! The launcher and the proxy, which every other test believes.

use support::{Client, PATIENCE, Proxy, RedisServer, Reply, SilentListener, wait_until};

#[test]
fn a_server_comes_and_goes() {
    let server = RedisServer::start();
    assert_eq!(server.cli(&["SET", "k", "v"]), "OK");
    server.save();
    server.kill9();
    assert!(Client::connect(server.port()).is_err());
    server.restart_with_data();
    assert_eq!(server.cli(&["GET", "k"]), "v");
    server.restart();
    assert_eq!(server.call(&["GET", "k"]), Reply::Nil);
}

#[test]
fn a_paused_server_answers_when_it_is_resumed_and_dies_when_it_is_dropped() {
    let server = RedisServer::start();
    let mut client = server.client();
    server.pause();
    client.send(&["PING"]).unwrap();
    server.resume();
    assert_eq!(client.receive().unwrap(), Reply::Status("PONG".into()));
    server.pause();
    let port = server.port();
    drop(server);
    assert!(Client::connect(port).is_err());
}

#[test]
fn a_server_loads_for_a_while() {
    let server = RedisServer::start_with(&["--requirepass", "pw"]);
    server.save_much(6000);
    server.restart_loading();
    assert!(server.cli(&["GET", "loading:1"]).starts_with("LOADING"));
    server.finish_loading();
    assert_eq!(server.cli(&["DBSIZE"]), "6000");
}

#[test]
fn a_replica_refuses_writes_until_it_is_promoted() {
    let (primary, replica) = (RedisServer::start(), RedisServer::start());
    primary.cli(&["SET", "k", "v"]);
    replica.replica_of(&primary);
    assert_eq!(replica.cli(&["GET", "k"]), "v");
    assert!(replica.cli(&["SET", "k", "w"]).starts_with("READONLY"));
    replica.promote();
    assert_eq!(replica.cli(&["SET", "k", "w"]), "OK");
}

#[test]
fn a_monitor_tells_commands_and_scripts() {
    let server = RedisServer::start();
    let mut monitor = server.monitor();
    server.cli(&["set", "a \"b\"\n", "v"]);
    server.cli(&["EVAL", "return redis.call('get', KEYS[1])", "1", "k"]);
    let seen = monitor.take();
    assert_eq!(seen[0].args, ["SET", "a \"b\"\n", "v"]);
    assert_eq!(seen[2].from, "lua");
    assert_eq!(monitor.names(), Vec::<String>::new());
}

#[test]
fn a_frozen_flow_stays_frozen_while_new_ones_work() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let mut old = Client::connect(proxy.port()).unwrap();
    assert_eq!(old.call(&["PING"]).unwrap().to_string(), "PONG");
    proxy.freeze_existing();
    old.send(&["SET", "k", "old"]).unwrap();
    let mut new = Client::connect(proxy.port()).unwrap();
    assert_eq!(new.call(&["GET", "k"]).unwrap(), Reply::Nil);
    proxy.thaw();
    assert_eq!(old.receive().unwrap().to_string(), "OK");
    assert_eq!(server.cli(&["GET", "k"]), "old");
}

#[test]
fn a_frozen_flow_passes_its_end_on_when_it_is_thawed() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let mut old = Client::connect(proxy.port()).unwrap();
    old.call(&["PING"]).unwrap();
    proxy.freeze_existing();
    old.send(&["SET", "k", "old"]).unwrap();
    drop(old);
    assert_eq!(proxy.open(), 1);
    assert_eq!(server.call(&["GET", "k"]), Reply::Nil);
    proxy.thaw();
    wait_until("the flow ends", PATIENCE, || proxy.open() == 0);
    assert_eq!(server.cli(&["GET", "k"]), "old");
}

#[test]
fn a_proxy_cuts_refuses_and_hangs() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port());
    let mut client = Client::connect(proxy.port()).unwrap();
    client.call(&["PING"]).unwrap();
    proxy.cut();
    assert!(client.call(&["PING"]).is_err());
    proxy.refuse();
    assert!(Client::connect(proxy.port()).is_err());
    proxy.accept_new();
    assert!(
        Client::connect(proxy.port())
            .unwrap()
            .call(&["PING"])
            .is_ok()
    );
    proxy.hang_new();
    let accepted = proxy.accepted();
    let mut hanging = Client::connect(proxy.port()).unwrap();
    hanging.send(&["PING"]).unwrap();
    wait_until("the connection is accepted", PATIENCE, || {
        proxy.accepted() > accepted
    });
}

#[test]
fn a_silent_listener_accepts() {
    let silent = SilentListener::start();
    let mut client = Client::connect(silent.port()).unwrap();
    client.send(&["PING"]).unwrap();
    wait_until("the connection is accepted", PATIENCE, || {
        silent.accepted() == 1
    });
}
