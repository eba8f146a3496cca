"""`midifactory sweep` over folders made by hand, every YAML of the sweeps, and grids by each launcher."""

import json
import re
import shlex
import sys
from html.parser import HTMLParser

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.utils import get_class
from omegaconf import OmegaConf
from plotly.offline import get_plotlyjs

from cli.conftest import run_command, write_folder
from midifactory.cli import hydra_app
from midifactory.cli import sweep as sweep_module
from midifactory.cli.hydra_app import explain
from midifactory.cli.search import read_space
from midifactory.cli.sweep import NOT_SET, as_text, command, importances, main, read_sweep, write_page
from midifactory.errors import Interrupted
from midifactory.paths import conf_dir

QUICK = (
    *("experiment=smoke", "data.limit=null", "accelerator=cpu", "estimate=false", "logger=csv"),
    *("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.enable_progress_bar=false"),
)


def names(group):
    """The choices of a group of conf/."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def write_job(folder, number, overrides, value=None, *, end=None, best=("val/nats_per_note", "min"), log=""):
    """A job's folder; with `value` it has finished."""
    job = folder / str(number)
    (job / ".hydra").mkdir(parents=True)
    (folder / "multirun.yaml").touch()
    config = {"trainer": {}, "callbacks": {"best": {"monitor": best[0], "mode": best[1]}}}
    (job / ".hydra" / "config.yaml").write_text(json.dumps(config))
    (job / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides))
    if value is not None:
        test = {"nats_per_note": value + 0.5}
        result = {"validation": {"nats_per_note": value}, "test": test, "minutes": 1.0, "monitored": {best[0]: value}}
        (job / "result.json").write_text(json.dumps(result))
    if end:
        (job / "job_end.json").write_text(json.dumps(dict(zip(("state", "reason"), end, strict=True))))
    if log:
        (job / "csv").mkdir()
        (job / "csv" / "metrics.csv").write_text(log)
    return job


class Page(HTMLParser):
    """What a page would fetch, and its text outside scripts."""

    def __init__(self, html):
        super().__init__()
        self.fetched, self.texts, self.tags, self._skip = [], [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._skip = tag in ("script", "style")
        self.fetched += [value for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]

    def handle_endtag(self, tag):
        self._skip = False

    def handle_data(self, data):
        if not self._skip:
            self.texts.append(data)


@pytest.fixture
def grid(tmp_path):
    """Two finished jobs and one of each other kind, not in the order of their quality."""
    folder = tmp_path / "my sweep"
    common = ["data=folder", "data.root='my <b>midis</b>'", "sweep=learning_rate", "launcher=joblib", "+model.x=1"]
    log = "epoch,step,val/nats_per_note\n0,3,4.5\n1,5,4.25\n"
    write_job(folder, 0, [*common, "optimizer.lr=0.1", "tokenizer=tsd"], 3.0)
    write_job(folder, 1, [*common, "optimizer.lr=0.01", "tokenizer=remi"], 2.0)
    write_job(folder, 2, [*common, "optimizer.lr=1", "tokenizer=tsd"], end=("failed", "<script>diverged</script>"))
    write_job(folder, 10, [*common, "optimizer.lr=2"], log=log)
    write_job(folder, 3, [*common, "optimizer.lr=0.2", "tokenizer=tsd"], end=("pruned", "worse"), log=log)
    write_job(folder, 4, [*common, "optimizer.lr=0.001", "tokenizer=tsd"], 2.5)
    return folder


def test_jobs_are_ranked_and_the_unfinished_said_to_be(grid):
    sweep = read_sweep(grid)
    assert [(job.name, job.state, job.value) for job in sweep.jobs] == [
        ("1", "finished", 2.0), ("4", "finished", 2.5), ("0", "finished", 3.0), ("3", "pruned", 4.25),
        ("10", "unfinished", 4.25), ("2", "failed", None),
    ]  # fmt: skip
    assert sweep.parameters == ("optimizer.lr", "tokenizer")
    lines = as_text(sweep).splitlines()
    assert lines[0].split()[:3] == ["rank", "job", "state"]
    assert lines[1].split() == ["1", "1", "finished", "2.0000", "0.01", "remi", "2.5000", "1.0"]
    assert lines[5].split()[:5] == ["10", "unfinished", "4.2500", "2", NOT_SET]
    assert "<script>diverged</script>" in lines[6]


def test_the_best_command_is_what_was_typed_without_the_sweep(grid):
    words = shlex.split(command(read_sweep(grid).jobs[0]))
    assert words[:2] == ["python", "train.py"]
    overrides = OverridesParser.create().parse_overrides(words[2:])
    assert {override.get_key_element(): override.value() for override in overrides} == {
        "data": "folder", "data.root": "my <b>midis</b>", "+model.x": 1, "optimizer.lr": 0.01, "tokenizer": "remi",
    }  # fmt: skip


@pytest.mark.parametrize("word", ["a='b c'", "a='$HOME'", "a='b`c'", 'a="it\'s"', "a='x\\\\y!'", "a=[1,2]", "a="])
def test_the_command_survives_the_shell(tmp_path, word):
    write_job(tmp_path, 0, [word], 1.0)
    assert shlex.split(command(read_sweep(tmp_path).jobs[0]))[2:] == [word]


def test_a_sweep_file_of_ones_own_that_sets_more_stays_in_the_command(tmp_path, monkeypatch):
    (tmp_path / "conf" / "sweep").mkdir(parents=True)
    (tmp_path / "conf" / "sweep" / "mine.yaml").write_text("trainer: {max_epochs: 3}\nhydra: {}\n")
    monkeypatch.setattr(sweep_module, "conf_dir", lambda: tmp_path / "conf")
    plumbing = ["search=optuna", "~search.pruner.n_warmup_steps", "study=x"]
    write_job(tmp_path / "s", 0, ["sweep=mine", *plumbing, "seed=1"], 1.0)
    assert command(read_sweep(tmp_path / "s").jobs[0]) == "python train.py sweep=mine seed=1"


def test_another_figure_that_all_are_judged_by(tmp_path):
    for number, value in enumerate((0.5, 0.9, 0.7)):
        write_job(tmp_path, number, [f"seed={number}"], value, best=("val/accuracy", "max"))
    sweep = read_sweep(tmp_path)
    assert (sweep.monitor, sweep.maximise) == ("val/accuracy", True)
    assert [job.value for job in sweep.jobs] == [0.9, 0.7, 0.5]
    write_job(tmp_path, 3, ["seed=3"], 2.0)  # judged by something else: all are compared by nats per note
    assert [job.value for job in read_sweep(tmp_path).jobs] == [0.5, 0.7, 0.9, 2.0]


def test_importances_are_of_what_matters(tmp_path):
    for number in range(16):
        rate, width = 10.0 ** -(number % 4), (32, 64, 128, 256)[number // 4]
        write_job(tmp_path, number, [f"optimizer.lr={rate}", f"model.d_model={width}"], 2.0 + number % 4 + width / 1e4)
    shares, reason = importances(read_sweep(tmp_path))
    assert reason == ""
    assert shares["optimizer.lr"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("jobs", "reason"),
    [
        ([(["a=1"], 2.0)], "at least two"),
        ([(["a=1"], 2.0), (["a=2"], None)], "at least two"),
        ([(["a=1"], 2.0), (["a=2"], 3.0)], "only a differs"),
        ([(["a=1"], 2.0), (["a=1"], 3.0)], "nothing differs"),
        ([(["a=1", "b=1"], 2.0), (["a=2", "b=2"], 2.0)], "the same value"),
        ([(["a=1"], None)], "at least two"),
    ],
)
def test_where_there_are_no_importances_the_page_says_why(tmp_path, jobs, reason):
    for number, (overrides, value) in enumerate(jobs):
        write_job(tmp_path, number, overrides, value)
    sweep = read_sweep(tmp_path)
    assert reason in importances(sweep)[1]
    text = "".join(Page(write_page(sweep).read_text()).texts)
    assert f"No importances: {importances(sweep)[1]}." in text
    assert ("No job has finished." in text) == (not sweep.finished)


def test_the_page_asks_nothing_of_a_network_and_escapes_names(grid, capsys):
    assert main([str(grid)]) == 0
    assert capsys.readouterr().out.endswith(f"pictures: {grid.resolve() / 'sweep.html'}\n")
    html = (grid / "sweep.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.fetched == []
    assert not {"link", "iframe", "img", "b", "object"} & set(page.tags)
    assert not re.search(r"@import|url\(\s*['\"]?https?:", html.partition("</style>")[0])
    text = "".join(page.texts)
    assert "<script>diverged</script>" in text  # as text
    assert "data.root='my <b>midis</b>'" in text
    assert {"Parallel coordinates", "Importances", "History", "Jobs"} <= set(page.texts)
    head, _, body = html.partition("</head>")
    assert get_plotlyjs() in head
    assert body.count("Plotly.newPlot") == 3


def test_names_in_the_pictures_are_text_too(tmp_path):
    for number, name in enumerate(("</script><i>x</i>", "<b>y</b>")):
        write_job(tmp_path, number, [f"data.root={name}", f"seed={number}"], float(number))
    html = write_page(read_sweep(tmp_path)).read_text()
    assert "</script><i>" not in html
    # Plotly reads tags in labels: they reach it as entities, in JSON that no tag can end.
    drawn = html[html.index("Parallel coordinates</h2>") :]
    assert not re.search(r'"ticktext":\[[^]]*(<|\\u003c)b', drawn)
    assert "&lt;b&gt;" in drawn or "\\u0026lt;b" in drawn


def test_mistakes_are_one_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "multirun.yaml").touch()
    write_job(tmp_path / "train", "2026-01-01", ["seed=1"], 2.0)
    (tmp_path / "train" / "multirun.yaml").unlink()
    for words, message in (
        ([], "sweep takes the folder of one sweep"),
        (["a", "b"], "sweep takes the folder of one sweep"),
        ([str(tmp_path / "none")], "no such folder"),
        ([str(tmp_path / "empty")], "not the folder of one sweep"),
        ([str(tmp_path / "train")], "not the folder of one sweep"),
        ([str(tmp_path / "begun")], "no job of this sweep has begun"),
    ):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: midifactory sweep DIR")


@pytest.mark.parametrize("module", ["plotly.graph_objects", "optuna"])
def test_without_the_packages_of_the_page(grid, capsys, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "midifactory.render.sweep", raising=False)
    assert main([str(grid)]) == 2
    printed = capsys.readouterr()
    assert "best: python train.py" in printed.out
    assert printed.err.count("\n") == 1
    assert 'pip install "midifactory[sweep]"' in printed.err


def test_damaged_files_do_not_hide_the_others(grid):
    (grid / "0" / "result.json").write_text("{")
    (grid / "1" / ".hydra" / "overrides.yaml").write_text("a: [")
    (grid / "2" / "job_end.json").write_text("[]")
    states = {job.name: job.state for job in read_sweep(grid).jobs}
    assert (states["0"], states["1"], states["2"], states["4"]) == ("unfinished", "finished", "unfinished", "finished")


# The configs


@pytest.mark.parametrize("name", names("sweep"))
def test_every_space_is_one_for_a_grid_and_for_a_search(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", [f"sweep={name}"], return_hydra_config=True)
        grid = dict(config.hydra.sweeper.params)
        overrides = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in grid.items()])
        assert all(override.is_discrete_sweep() for override in overrides)
        space, fixed = read_space({**grid, **OmegaConf.select(config, "search.space", default={})}, [])
        assert space
        assert fixed == []
        for override in overrides:  # keys and choices are those of the command
            key, values = override.get_key_element(), list(override.sweep_string_iterator())
            for value in values[:1] if "." in key else values:
                compose("train", [f"sweep={name}", f"{key}={value}"])
    told = int(re.search(r"(\d+) trainings", (conf_dir() / "sweep" / f"{name}.yaml").read_text())[1])
    count = 1
    for override in overrides:
        count *= len(list(override.sweep_string_iterator()))
    assert told == count


@pytest.mark.parametrize("name", names("launcher"))
def test_every_launcher_is_one_that_can_be_made(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", [f"launcher={name}"], return_hydra_config=True)
    launcher = Plugins.instance()._instantiate(config.hydra.launcher)
    assert type(launcher).__name__.casefold().removesuffix("launcher") in {
        "joblib": ("joblib",), "ray": ("ray",), "submitit": ("slurm",), "submitit_local": ("local",),
    }[name]  # fmt: skip
    assert config.threads == (None if name == "submitit" else 1)


@pytest.mark.parametrize("name", names("search"))
def test_every_search_composes_and_is_refused_without_m(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "my_midis", 4)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", [f"search={name}"], return_hydra_config=True)
        assert get_class(config.hydra.sweeper._target_).__name__ == "SearchSweeper"
        deleted = ("~search.pruner.n_startup_trials", "~search.pruner.n_warmup_steps")
        other = [f"search={name}", "search.pruner._target_=optuna.pruners.HyperbandPruner", *deleted]
        assert set(compose("train", other).search.pruner) == {"_target_"}
    done = run_command(tmp_path, "train", "my_midis", *QUICK, f"search={name}")
    assert done.code == 2
    assert done.message == "midifactory: search=optuna chooses the settings of several trainings; add -m"


def test_a_launcher_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from hydra.core.config_store import ConfigStore

    Plugins.instance()  # registers them
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], "ray.yaml")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"), pytest.raises(Exception, match="ray") as caught:
        compose("train", ["launcher=ray"])
    assert explain(caught.value) == ('launcher=ray: its package is missing; pip install "midifactory[ray]"', 2)


# Real grids

SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "launcher", ["joblib", pytest.param("submitit_local", marks=SLOW), pytest.param("ray", marks=SLOW)]
)
def test_a_grid_by_each_launcher(tmp_path, launcher):
    write_folder(tmp_path / "my_midis")
    done = run_command(
        tmp_path, "train", "my_midis", *QUICK, "-m", f"launcher={launcher}", "optimizer.lr=0.01,0.001", "study=two"
    )
    if launcher == "ray":
        import ray

        ray.shutdown()
    assert done.code == 0, done
    assert [path.name for path in (tmp_path / "outputs" / "sweeps").iterdir()] == ["two"]
    sweep = read_sweep(tmp_path / "outputs" / "sweeps" / "two")
    assert {(job.name, job.settings["optimizer.lr"]) for job in sweep.finished} == {("0", "0.01"), ("1", "0.001")}
    assert sweep.jobs[0].value < sweep.jobs[1].value
    assert done.out.endswith(f"{as_text(sweep)}pictures: {sweep.folder / 'sweep.html'}\n")
    assert (sweep.folder / "sweep.html").is_file()


def test_a_signal_ends_a_grid_which_is_not_overwritten(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    begun = []

    def stopped(config):
        begun.append(config.seed)
        raise Interrupted("stopped", 143)

    for code in (143, 2):
        GlobalHydra.instance().clear()
        with pytest.raises(SystemExit) as ended:
            hydra_app.run("train", stopped, ["-m", "seed=1,2", "study=two"])
        assert ended.value.code == code
    assert begun == [1]
    folder = tmp_path / "outputs" / "sweeps" / "two"
    assert [(job.name, job.state) for job in read_sweep(folder).jobs] == [("0", "unfinished")]
    assert "midifactory: study=two: outputs/sweeps/two holds a sweep; name another" in capsys.readouterr().err
    sweep_module.show_ended()
    assert capsys.readouterr().out.startswith(as_text(read_sweep(folder)))


def test_a_grid_in_which_a_job_fails(tmp_path):
    write_folder(tmp_path / "my_midis")
    done = run_command(tmp_path, "train", "my_midis", *QUICK, "-m", "model.heads=4,3")
    assert done.code == 2, done
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    jobs = read_sweep(folder).jobs
    assert [(job.state, job.settings["model.heads"]) for job in jobs] == [("finished", "4"), ("failed", "3")]
    assert "heads" in jobs[1].reason
    assert f"best: {command(jobs[0])}\n" in done.out
