"""Every case, once for each mode that it applies to."""


def test_case(case, mode, client):
    if case.opened:
        case.run(client.open(case.path))
    else:
        case.run(client)
