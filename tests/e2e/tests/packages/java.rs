//! A Java project of four modules: each is compiled, packed into a jar and translated into
//! a dex file, and a program of all of them is run.

use anyhow::Result;
use std::path::Path;
use termite_e2e::corpus::DX;
use termite_e2e::project::write_all;

/// Modules that the program is made of.
const MODULES: [&str; 3] = ["core", "left", "right"];
/// Classes of each.
const CLASSES: usize = 12;

/// dx reads class files of Java 8 and older.
const MAKEFILE: &str = "MODULES = core left right app
JAVAC = javac --release 8 -Xlint:-options
DX = sh dx/usr/lib/android-sdk/build-tools/debian/dx
colon := :
empty :=
classpath = $(subst $(empty) $(empty),$(colon),$(filter %.jar,$^))

all: $(MODULES:%=%.dex) all.dex app.txt

left.jar right.jar: core.jar
app.jar: core.jar left.jar right.jar

%.jar: src/%
\tmkdir -p classes/$*
\t$(JAVAC) -cp \"$(classpath):\" -d classes/$* $</*.java
\tjar --create --file $@ --date 2020-01-01T00:00:00Z -C classes/$* .

%.dex: %.jar
\t$(DX) --dex --output=$@ $<

all.dex: $(MODULES:%=%.jar)
\t$(DX) --dex --output=$@ $^

app.txt: $(MODULES:%=%.jar)
\tjava -cp $(classpath) app.Main > $@
";

/// Lays out sources, makefile and dx.
pub(crate) fn lay_out(dir: &Path) -> Result<()> {
    let mut files = vec![
        ("Makefile".to_owned(), MAKEFILE.to_owned()),
        (
            "src/core/Step.java".to_owned(),
            "package core;\npublic interface Step { int on(int n); }\n".to_owned(),
        ),
        ("src/app/Main.java".to_owned(), main_java()),
    ];
    for module in MODULES {
        for number in 0..CLASSES {
            files.push((format!("src/{module}/C{number}.java"), class_java(module, number)));
        }
    }
    write_all(dir, &files)?;
    DX.unpack(&dir.join("dx"))
}

/// A class with an anonymous one in it.
fn class_java(module: &str, number: usize) -> String {
    format!(
        "package {module};
public class C{number} {{
    public static core.Step step() {{
        return new core.Step() {{
            public int on(int n) {{ return n * {number} + \"{module}\".length(); }}
        }};
    }}
}}
"
    )
}

/// Adds up what a step of each class gives.
fn main_java() -> String {
    let steps = MODULES
        .iter()
        .flat_map(|module| (0..CLASSES).map(move |number| format!("{module}.C{number}.step()")));
    let steps: Vec<_> = steps.collect();
    format!(
        "package app;
public class Main {{
    public static void main(String[] args) {{
        core.Step[] steps = {{ {} }};
        int sum = 0;
        for (core.Step step : steps) sum += step.on(3);
        System.out.println(sum);
    }}
}}
",
        steps.join(", ")
    )
}
