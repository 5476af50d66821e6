from pathlib import Path
def test_ingest(loopback_cluster, wheel, tmp_path, spark):
    import datetime
    from isrf_pipeline.demo.generate import generate_demo_lake
    from isrf_pipeline.lake import Lake, tables
    from isrf_pipeline.config.settings import LakeSettings
    s = generate_demo_lake(tmp_path/"demo-lake"/"raw", clients=60)
    conf = str(Path("conf/demo.yaml").resolve())
    done = loopback_cluster.submit(wheel, "nightly", "--conf-file", conf, "--run-date", "2026-06-30", "--until", "ingest", folder=tmp_path)
    Path("/tmp/ingest_cluster_out.txt").write_text(done.out + "\n====\n" + done.err)
    print(done.code, done.complaints())
    assert done.code == 0
    lake = Lake(spark, LakeSettings(root=str(tmp_path/"demo-lake"/"lake")))
    print(s.rows, s.dirty_rows, {t.name: lake.read(t).count() for t in (tables.INTERACTIONS, tables.ITEMS, tables.CLIENTS, tables.QUARANTINE)})
    lake.read(tables.RUNS).show(truncate=False, vertical=True)
    done = loopback_cluster.submit(wheel, "nightly", "--conf-file", str(tmp_path / "no.yaml"))
    assert done.code == 2 and len(done.complaints()) == 1
