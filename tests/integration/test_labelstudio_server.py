"""The server that tests stand on: started, known, with annotators."""


def test_annotators_have_accounts(label_studio):
    anna, bert = (label_studio.annotator(name) for name in ("anna", "bert"))
    assert anna.id != bert.id
    assert label_studio.annotator("anna") == anna
    whoami = label_studio.ask("GET", "/api/current-user/whoami", anna.token).json()
    assert whoami["email"] == "anna@example.org"
