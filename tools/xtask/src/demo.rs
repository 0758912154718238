//! `cargo xtask demo`: Lua on the embedded worker, as a user meets it: no fleet, no
//! configuration. Shows the jobs, where they ran and the time, and compares what came
//! out with a local build in the same place.

use crate::prefix;
use crate::steps::Steps;
use anyhow::{Context, Result};
use std::fs;
use termite_e2e::project::Kind;
use termite_e2e::reference::same;
use termite_e2e::{Client, Project, Scene, User, Way};

/// Builds and shows.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::new(4);
    steps.step("building termite", prefix::build)?;
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "demo", "")?;
    let project = steps.step("fetching Lua 5.4.4", || Project::new(&scene, "lua", Kind::Lua))?;
    let (driver, args) = project.command();
    let (local, took) = steps.step("building it locally: make -j2", || {
        let outcome = client
            .bare(project.dir(), driver)
            .arg("-j2")
            .args(args)
            .run()?
            .success()?;
        let tree = project.tree()?;
        project.renew()?;
        Ok((tree, outcome.took))
    })?;
    let build = steps.step("building it with termite: termite-env make -j2", || {
        client
            .drive(Way::Env, project.dir(), driver)
            .arg("-j2")
            .args(args)
            .run()?
            .success()
    })?;
    print!("{}{}", build.out(), build.err());
    println!("\n$ termite last");
    print!("{}", client.termite(project.dir(), ["last"]).run()?.success()?.out());
    println!("\n$ termite last --json");
    println!(
        "{}",
        client
            .termite(project.dir(), ["last", "--json"])
            .run()?
            .success()?
            .out()
            .trim_end()
    );
    let last = client.last(project.dir())?;
    same(&project.tree()?, &local).context("termite has built something else than make")?;
    let program = fs::read(project.dir().join("src/lua"))?;
    let says = client
        .bare(project.dir(), project.dir().join("src/lua"))
        .arg("-v")
        .run()?
        .success()?;
    println!(
        "\n{} jobs, {} of them on the embedded worker, {:.1} s; locally {:.1} s\n\
         all {} files of the tree are identical to those of the local build\n\
         src/lua: {} bytes, {}",
        last.jobs.total,
        last.jobs.remote,
        build.took.as_secs_f32(),
        took.as_secs_f32(),
        local.paths().count(),
        program.len(),
        says.out().trim_end(),
    );
    client.stop()?;
    scene.finish()
}
