"""What a reload says that it changes."""

ONE = "[listener web]\nbind = @web@\n[route all]\nrespond = 200 one\n"
TWO = ONE.replace("200 one", "200 two")


# ---- what a reload says ----

def test_reload_names_what_it_changes(rpd):
    d = rpd("""
        [listener web]
        bind = @web@
        [listener old]
        bind = @old@
        [route all]
        backend = app
        [route gone]
        path = /gone
        respond = 200 x
        [backend app]
        server = 127.0.0.1:1 name=a
        server = 127.0.0.1:2 name=b
        """)
    out = d.reload("""
        [listener web]
        bind = @web@
        timeout_idle = 30s
        [route all]
        backend = app
        [route api]
        path = /api
        respond = 200 x
        [backend app]
        server = 127.0.0.1:1 name=a weight=3
        server = 127.0.0.1:3 name=c
        """).stdout.splitlines()
    assert out[0] == ("generation 2: listeners -1 ~1, routes +1 -1, backends ~1, "
                      "servers +1 -1 ~1")
    assert out[1:] == ["  ~ listener web: timeout_idle 1m -> 30s", "  + route api",
                       "  ~ backend app: its servers", "  ~ server app/a: weight 1 -> 3",
                       "  + server app/c", "  - listener old", "  - route gone",
                       "  - server app/b"]


def test_reload_that_changes_nothing_says_so(rpd):
    assert rpd(ONE).reload(ONE).stdout == "generation 2: nothing changed\n"


def test_many_changes_are_counted_after_forty(rpd):
    d = rpd(ONE)
    more = "".join(f"[route n{n}]\npath = /n{n}\nrespond = 200 x\n" for n in range(77))
    out = d.reload(ONE + more).stdout.splitlines()
    assert len(out) == 42
    assert out[-1] == "  and 37 more"
