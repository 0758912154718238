//! The fixtures themselves: a comparison with a project that no two local builds make
//! alike, or with an empty one, would prove nothing.

use anyhow::{Result, ensure};
use std::fs;
use termite_e2e::project::Kind;
use termite_e2e::reference::same;
use termite_e2e::{Client, Project, Scene, Tree, User};

#[test]
fn made_up_projects_are_reproducible_and_cleaned() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        let client = Client::new(&scene, "a", "")?;
        for (kind, product) in [
            (Kind::Nested, "app/app.txt"),
            (Kind::Ninja, "app.txt"),
            (Kind::Tiny(5), "f4.o"),
        ] {
            let project = Project::new(&scene, "made-up", kind)?;
            let sources = project.tree()?;
            let (driver, args) = project.command();
            let build = || client.bare(project.dir(), driver).args(args).run()?.success();
            build()?;
            let built = project.tree()?;
            ensure!(
                built.has(product) && !sources.has(product),
                "{kind:?} makes no {product}"
            );
            project.clean(&sources)?;
            same(&project.tree()?, &sources)?;
            build()?;
            same(&project.tree()?, &built)?;
            ensure!(same(&built, &sources).is_err(), "a difference is not seen");
        }
        scene.finish()?;
    }
    Ok(())
}

#[test]
fn a_tree_sees_mode_content_kind_and_absence() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let dir = scene.dir("t")?;
    fs::write(dir.join("file"), "one")?;
    std::os::unix::fs::symlink("file", dir.join("link"))?;
    let before = Tree::read(&dir)?;
    fs::write(dir.join("file"), "two")?;
    fs::remove_file(dir.join("link"))?;
    fs::create_dir(dir.join("dir"))?;
    let lines = Tree::read(&dir)?.differences(&before);
    let starts: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(start, _)| start)
        .collect();
    ensure!(starts == ["differs", "missing", "too much"], "{lines:?}");
    scene.finish()
}
