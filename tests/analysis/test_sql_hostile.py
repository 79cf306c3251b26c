"""Whatever it is asked, `sql` only reads the study's tables: else one sentence, and every file stays as it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest

import analysis
from analysis import queries, sandbox

ROOT = Path(__file__).parents[2]

NOT_A_SELECT = [
    "",
    ";",
    "   -- nothing",
    "/* nothing */",
    # files
    "COPY (SELECT 1) TO '{file}'",
    "COPY (SELECT 1) TO '{file}' (FORMAT parquet, USE_TMP_FILE false)",
    "COPY (SELECT 1) TO '{new}'",
    "COPY (SELECT 1) TO '{new}' (USE_TMP_FILE false)",
    "COPY trials FROM '{file}'",
    "COPY FROM DATABASE memory TO other",
    "EXPORT DATABASE '{folder}'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{file}' AS other",
    "ATTACH '{new}' AS other",
    "ATTACH ':memory:' AS other",
    "DETACH memory",
    "USE memory",
    "CHECKPOINT",
    "VACUUM",
    # extensions and secrets
    "INSTALL httpfs",
    "FORCE INSTALL httpfs FROM community",
    "UPDATE EXTENSIONS",
    "LOAD httpfs",
    "LOAD '{new}'",
    "CREATE SECRET s (TYPE s3)",
    "CREATE PERSISTENT SECRET s (TYPE s3)",
    # settings
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "PRAGMA import_database('{folder}')",
    "CALL pragma_version()",
    "CALL enable_logging(storage_path = '{new}')",
    "SET enable_external_access = true",
    "SET GLOBAL allowed_directories = ['/']",
    "SET VARIABLE x = 1",
    "RESET lock_configuration",
    # tables
    "CREATE TABLE x AS SELECT 1",
    "CREATE TEMP TABLE x AS SELECT 1",
    "CREATE MACRO f(x) AS x",
    "CREATE OR REPLACE VIEW trials AS SELECT 1",
    "ALTER VIEW trials RENAME TO x",
    "COMMENT ON VIEW trials IS 'x'",
    "DROP VIEW trials",
    "INSERT INTO trials SELECT * FROM trials",
    "WITH x AS (SELECT 1) INSERT INTO trials SELECT * FROM x",
    "UPDATE trials SET seed = 1",
    "DELETE FROM trials",
    "TRUNCATE trials",
    "MERGE INTO trials USING evals ON true WHEN MATCHED THEN DELETE",
    # statements about statements
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "EXECUTE p(1)",
    "DEALLOCATE p",
    "BEGIN",
    "COMMIT",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)",
    # several, some hidden
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)",
    "SELECT 1 /* ; */; COPY (SELECT 1) TO '{new}'",
    "SELECT ';' -- ;\n; COPY (SELECT 1) TO '{new}'",
    "/* SELECT 1 */ COPY (SELECT 1) TO '{new}'",
    "\ufeffCOPY (SELECT 1) TO '{new}'",
    "\u00a0\t\r\nCOPY (SELECT 1) TO '{new}'",
    "SELECT 1\u00a0;\u2003COPY (SELECT 1) TO '{new}'",
    "SELECT 1\x00; COPY (SELECT 1) TO '{new}'",
    "PIVOT trials ON status USING count(*)",    # makes a type first
]

WRITING_INSIDE = {
    "WITH x AS (COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)) SELECT * FROM x": "COPY",
    "WITH x AS MATERIALIZED (COPY (SELECT 1) TO '{file}' (FORMAT csv, USE_TMP_FILE false)) SELECT 1": "COPY",
    "WITH a AS (SELECT 1), x AS (COPY a TO '{file}' (USE_TMP_FILE false)) SELECT 1 UNION ALL SELECT 2": "COPY",
    "WITH x AS (COPY (SELECT 1) TO '{new}') SELECT 1": "COPY",
    "SELECT (WITH x AS (COPY (SELECT 2) TO '{file}' (USE_TMP_FILE false)) SELECT count(*) FROM x)": "COPY",
    "SUMMARIZE WITH x AS (COPY (SELECT 2) TO '{file}' (USE_TMP_FILE false)) SELECT * FROM x": "COPY",
    "WITH x AS (INSERT INTO trials SELECT * FROM trials RETURNING *) SELECT * FROM x": "INSERT",
    "WITH x AS (UPDATE trials SET seed = 1 RETURNING *) SELECT * FROM x": "UPDATE",
    "WITH x AS (DELETE FROM trials RETURNING *) SELECT * FROM x": "DELETE",
}

FORBIDDEN_FUNCTIONS = [
    "read_parquet('{outside}.parquet')",
    "READ_PARQUET('{file}')",
    "parquet_scan(['{file}', '{outside}.parquet'])",
    "read_csv('{outside}.csv')",
    "read_csv_auto('{outside}.csv')",
    "read_json('{outside}.json')",
    "read_ndjson_objects('{outside}.json')",
    "read_text('{outside}.csv')",
    "read_text('/proc/self/environ')",
    "read_blob('{file}')",
    "read_duckdb('{outside}.duckdb', table_name = 't')",
    "read_parquet('https://example.org/x.parquet')",
    "read_xlsx('{outside}.xlsx')",
    "glob('{folder}/*')",
    "sniff_csv('{outside}.csv')",
    "parquet_metadata('{outside}.parquet')",
    "parquet_schema('{outside}.parquet')",
    "parquet_kv_metadata('{outside}.parquet')",
    "parquet_file_metadata('{outside}.parquet')",
    "parquet_bloom_probe('{outside}.parquet', 'study_id', 's1')",
    "sqlite_scan('{outside}.db', 't')",
    "duckdb_secrets()",
    "duckdb_settings()",
    "duckdb_extensions()",
    "which_secret('s3://x', 's3')",
    "enable_logging(storage_path = '{new}')",
    "enable_profiling(save_location = '{new}')",
    "checkpoint()",
    "force_checkpoint()",
    "create_external_resource('x')",
    "query('COPY (SELECT 1) TO ''{file}'' (USE_TMP_FILE false)')",
    "query('FROM read_text(''{outside}.csv'')')",
    "query_table('{outside}.parquet')",
    "json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "arrow_scan(1, 2, 3)",
    "python_map_function((SELECT 1))",
]

OTHERWISE_WRONG = [
    ("SELECT * FROM '{outside}.csv'", "Cannot access file"),
    ("SELECT * FROM '{outside}.parquet'", "Cannot access file"),
    ('FROM "{outside}.json"', "Cannot access file"),
    ("FROM '{outside}.duckdb'", "Cannot access file"),
    ("FROM '{folder}/*.parquet'", "Cannot access file"),
    ("FROM '{folder}/../../../outside.csv'", "Cannot access file"),
    ("FROM 'https://example.org/x.parquet'", "Cannot access file"),
    ("FROM 's3://bucket/x.parquet'", "Cannot access file"),
    ("DESCRIBE TABLE '{outside}.parquet'", "Cannot access file"),
    ("SUMMARIZE '{outside}.parquet'", "Cannot access file"),
    ("SELECT (SELECT count(*) FROM '{outside}.csv')", "Cannot access file"),
    ("SELECT * FROM python_variable", "python_variable does not exist"),
    ("SELECT * FROM os", "os does not exist"),
    ("SELECT getenv('HOME')", "getenv does not exist"),
    ("SELECT read_text('{outside}.csv')", "read_text"),
    ("SELECT * INTO x FROM trials", "syntax error"),
    ("SELECT 1\uff1bCOPY (SELECT 1) TO '{new}'", "syntax error"),     # a full-width semicolon is none
    ("C\u041ePY (SELECT 1) TO '{new}'", "syntax error"),             # nor is a Cyrillic O an O
    ("SELECT * FROM (COPY (SELECT 1) TO '{new}')", "syntax error"),
    ("WITH x AS (CREATE TABLE y(i int)) SELECT 1", "CTE body"),
    ("SELECT '\ud800'", "cannot be understood"),
    ("SELECT ?", "parameters: 1"),
    (".read {outside}.csv", "syntax error"),
    ("nonsense", "syntax error"),
    ("SELECT " + "1+" * 3000 + "1", "expression depth"),
    ("SELECT " + "1+" * 900 + "1", "cannot be understood"),
]


@pytest.fixture
def hostile(study, tmp_path, monkeypatch):
    """Asks the study a query with its places filled in, and sees that no file below the test's directory changes."""
    for name in ("home", "cwd", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "cwd")
    file = sorted((study / "tables" / "trials").iterdir())[0]
    _write_outside(tmp_path / "outside", file)
    for module in (queries, sandbox):    # where DuckDB looks for variables
        monkeypatch.setattr(module, "python_variable", pd.DataFrame({"x": [1]}), raising=False)
    places = {"file": file, "folder": file.parent, "outside": tmp_path / "outside", "new": tmp_path / "cwd" / "new"}

    def ask(query: str) -> pd.DataFrame:
        for place, path in places.items():
            query = query.replace(f"{{{place}}}", str(path))
        before = _digest(tmp_path)
        try:
            return analysis.open(study).sql(query)
        finally:
            assert _digest(tmp_path) == before

    return ask


@pytest.mark.parametrize("query", NOT_A_SELECT)
def test_what_is_not_exactly_one_select_is_refused(hostile, query):
    with pytest.raises(ValueError, match=r"^sql: exactly one SELECT is allowed\n\nhint: "):
        hostile(query)


@pytest.mark.parametrize("query", WRITING_INSIDE)
def test_a_select_that_holds_a_writing_statement_is_refused(hostile, query):
    with pytest.raises(ValueError, match=rf"^sql: {WRITING_INSIDE[query]} inside a query is not allowed\n\nhint: "):
        hostile(query)


@pytest.mark.parametrize("call", FORBIDDEN_FUNCTIONS)
def test_a_function_that_reads_more_than_the_tables_is_refused(hostile, call):
    name = call.partition("(")[0].lower()
    with pytest.raises(ValueError, match=rf"^sql: function {name} in FROM is not allowed\n\nhint: "):
        hostile(f"SELECT * FROM {call}")


@pytest.mark.parametrize("query", [
    "SELECT (SELECT count(*) FROM read_csv('{outside}.csv') AS t)",
    "SELECT * FROM trials, LATERAL (SELECT * FROM read_csv('{outside}.csv'))",
    "SELECT 1 UNION ALL SELECT 2 FROM read_csv('{outside}.csv')",
    "SELECT 1 WHERE EXISTS (FROM read_csv('{outside}.csv'))",
    "SELECT 1 ORDER BY (SELECT count(*) FROM read_csv('{outside}.csv'))",
    "SELECT list_transform([1], lambda x: (SELECT count(*) FROM read_csv('{outside}.csv')))",
    "WITH x AS (FROM read_csv('{outside}.csv')) SELECT 1",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t, read_csv('{outside}.csv')) SELECT * FROM t",
    "PIVOT (FROM read_csv('{outside}.csv')) ON secret IN (1) USING count(*)",
    "DESCRIBE FROM read_csv('{outside}.csv')",
    "SUMMARIZE FROM system.main.read_csv('{outside}.csv')",
    "FROM trials SEMI JOIN \"Read_CSV\"('{outside}.csv') ON true",
])
def test_such_a_function_is_found_wherever_it_stands(hostile, query):
    with pytest.raises(ValueError, match=r"^sql: function read_csv in FROM is not allowed\n\nhint: "):
        hostile(query)


@pytest.mark.parametrize(("query", "says"), OTHERWISE_WRONG)
def test_other_files_python_variables_and_nonsense_are_refused(hostile, query, says):
    with pytest.raises(ValueError, match=rf"^sql: [\s\S]*{says}[\s\S]*\n\nhint: "):
        hostile(query)


@pytest.mark.parametrize("query", [
    "FROM trials",
    "TABLE trials",
    "VALUES (1)",
    ";SELECT 1;;",
    "SELECT 1 -- ; COPY",
    "SELECT 'COPY (SELECT 1) TO ''x''' AS text",
    """SELECT '"type":"COPY_QUERY_NODE","cte_map":1' AS text""",
    'SELECT count(*) FROM memory.main."TRIALS"',
    "WITH x AS (SELECT 1) SELECT * FROM x",
    "WITH trials AS (SELECT 1) SELECT * FROM trials",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM t",
    "SELECT * FROM trials WHERE trial_id IN (SELECT trial_id FROM epochs) UNION SELECT * FROM trials",
    "SELECT i, unnest([1, 2]) FROM RANGE(3) AS r(i), unnest([1]), \"Generate_Series\"(1, 2)",
    "SELECT e.key FROM json_each('[1]') AS e UNION ALL SELECT t.key FROM json_tree('[1]') AS t",
    "PIVOT trials ON status IN ('completed') USING count(*)",
    "UNPIVOT evals ON top1, top5",
    "DESCRIBE trials",
    "DESCRIBE SELECT 1",
    "SUMMARIZE trials",
    "SHOW TABLES",
    "SELECT trial_id FROM trials QUALIFY row_number() OVER (PARTITION BY arm_id ORDER BY number) = 1",
])
def test_all_ways_to_only_read_are_allowed(hostile, query):
    assert not hostile(query).empty


def test_show_tables_shows_all(hostile):
    assert set(hostile("SHOW TABLES").iloc[:, 0]) == {
        "studies", "trials", "epochs", "evals", "test_curves", "teachers", "environments"}


def test_the_parser_calls_every_part_of_a_query_by_the_names_that_the_sandbox_knows():
    """Were they renamed, a writing part could pass for none: this fails first."""
    query = "WITH x AS (COPY (SELECT 1) TO 'a'), y AS (INSERT INTO t SELECT 1 RETURNING *) SELECT 1 UNION FROM y"
    with duckdb.connect() as connection:
        text, = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    kinds = {node["type"] for node in sandbox._walk(json.loads(text)) if "cte_map" in node}
    assert kinds == {"SELECT_NODE", "SET_OPERATION_NODE", "COPY_QUERY_NODE", "INSERT_QUERY_NODE"}


def test_the_connection_is_locked_even_for_what_gets_past_the_first_wall(study, tmp_path):
    file = sorted((study / "tables" / "trials").iterdir())[0]
    with duckdb.connect() as connection:
        sandbox.expose(connection, {"trials": [str(file)]}, reads={})
        for statement in ("SET threads = 1", "SET enable_external_access = true", "SET allowed_paths = ['/']",
                          f"COPY (SELECT 1) TO '{tmp_path}/new' (USE_TMP_FILE false)", f"ATTACH '{tmp_path}/new'",
                          f"FROM read_parquet('{file.parent}/*')", "LOAD httpfs", "CALL enable_logging()"):
            with pytest.raises(duckdb.Error, match=r"locked|disabled"):
                connection.execute(statement)
        assert connection.execute("SELECT count(*) FROM trials").fetchone() == (1,)


def test_tables_held_in_memory_leave_no_file_within_reach(study):
    file = sorted((study / "tables" / "trials").iterdir())[0]
    with duckdb.connect() as connection:
        sandbox.expose(connection, {"trials": [str(file)]}, reads={"trials": ["number"]}, hold={"trials"})
        assert connection.execute("SELECT count(number) FROM trials").fetchone() == (1,)
        with pytest.raises(duckdb.Error, match="disabled"):
            connection.execute(f"COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)")


@pytest.mark.parametrize("query", [
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
    "SELECT a.range, b.range FROM range(1000000) a, range(1000000) b",
])
def test_ctrl_c_stops_a_query_without_end(study, query):
    code = """if True:
        import sys
        import analysis
        from analysis import sandbox
        expose = sandbox.expose
        def expose_and_tell(*arguments, **options):
            expose(*arguments, **options)
            print("asked", flush=True)
        sandbox.expose = expose_and_tell
        analysis.open(sys.argv[1]).sql(sys.argv[2])
    """
    command = [sys.executable, "-c", code, study, query]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"asked\n"
            os.kill(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert errors.decode().rstrip().endswith("KeyboardInterrupt")


def _write_outside(path: Path, parquet: Path) -> None:
    """Files that are nobody's business, in every format that DuckDB reads."""
    path.with_suffix(".csv").write_text("secret\n1\n")
    path.with_suffix(".json").write_text('{"secret": 1}')
    shutil.copy(parquet, path.with_suffix(".parquet"))
    with duckdb.connect(str(path.with_suffix(".duckdb"))) as connection:
        connection.execute("CREATE TABLE t AS SELECT 42 AS secret")


def _digest(folder: Path) -> dict[str, str]:
    """Every path below the folder, with what a file holds."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in sorted(folder.rglob("*"))}
