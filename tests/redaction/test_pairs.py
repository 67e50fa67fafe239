"""Names decide on what stands behind them in text that is no JSON, as its keys do."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import RedactionSettings
from processors.redaction import Redactor
from tests.redaction.marked_texts import assert_values_go, plain

NOTATED: Final = {
    "Python's repr": "User(first_name='«Qa»', last_name=\"«Qb»\", id=4)",
    "Python's dict": "{'username': '«qQ7»', u'x': 1, b'surname': b'«Q»'}",
    "nested": "{'user': {'name': '«Q»', 'tags': ['«Q»', «7»], 'ok': True}, 'a': 'b'}",
    "over lines": "{'a': 'b',\n 'username':\n     '«Q»'}",
    "a secret's key": "{'x-api-key': '«Qx»', 'cookie': '«Q»'}",
    "like a type": "user_id=«u42», first_name='«Intan»', username=«erna», surname='«astrid»'",
    "signs at first": "{'cookie': '«;Q»', 'username': '«)Q»'}",
    "Ruby": '#<User id: 1, first_name: "«Q»", email: nil>',
    "Ruby's hash": '{:first_name=>"«Q»", "last_name" => "«Q»"}',
    "Kotlin": "User(id=1, firstName=«Qa Qb», lastName=«Q»)",
    "Java's record": "User[firstName=«Q», x=y z, lastName=«Q»]",
    "Java": "User{firstName='«Q»', age=3}",
    "Go": "&{ID:7 FirstName:«Qa Qb» LastName:«Q» Age:3}",
    "Go's source": 'username := "«Q»"; ids["user_id"] = «7»',
    "Rust": 'User { first_name: Some("«Q»"), last_name: None }',
    "a date": "dob=«datetime.date(1990, 5, 12)»",
    "a list": "user_ids=['«Qa»', '«Qb»'], n=2",
    "a form": "first_name=«Q»&last_name=«Q%20Q»&x=1",
    "a query": "GET /find?last_name=«Q»&q=x HTTP/1.1",
    "logfmt": 'level=info user=«Q» user.name="«Qa Qb»" status=200',
    "a log's line": "no account for username=«Q».",
    "a number": "user_id=«4711», status=ok",
    "a flag": "run --username=«Q» --last-name 'x'",
    "SQL": "WHERE last_name = '«Q»' AND user_id = «42» AND x = 1",
    "properties": "a = b\nuser.name = «Qa Qb»\nuser.email=«Q»\n",
    "YAML": 'user:\n  first_name: «Q»\n  last-name: "«Q»"\n- username: «Q»\n',
    "a label": "First name: «Qa»\nDate of birth: «3 Q 1990»\n- **Last name:** «Q»",
    "XML": '<p:firstName a="b">«Q»</p:firstName><lastName>«Q Q»</lastName>',
    "an XML attribute": '<person age="3" username="«Q»"/>',
    "XML escaped": "&lt;username&gt;«Q»&lt;/username&gt;",
    "escaped": '{\'username\': \\"«Q»\\", last_name=\\\'«Q»\\\'}',
    "an escape": "first_name='«Q\\'Q»', a='b'",
    "C#": "User { Id = 4, FirstName = «Qa Qb», LastName = «O'Q» }",
    "PHP's print_r": "(\n    [first_name] => «Q O'Q»\n    [lastName:User:private] => «Q»\n)",
    "PHP's var_dump": '["first_name"]=>\n  string(4) "«Q»"\n  ["user_id"]=>\n  int(«7»)',
    "a map of Go": "map[first_name:«Qa Qb» last_name:«Q»]",
    "numpy and pandas": "{'username': np.str_('«Q»'), 'dob': Timestamp('«1990 Q»')}",
    "its own type": "Order(id=1, user=User(name='«Q»', ok=True))",
    "its own record": "Order{id=1, user=User{id=«3», name=«Qa Qb», ok=true, x=«Q»}, y=z}",
    "its own struct": "{ID:1 User:&{Name:«Qa Qb» Nick:«Q» Ok:true}} user=UserDto(name=«Q», x=null)",
    "its own class": "user=com.x.User@1a2b[name=«Qa Qb»,x=«Q»] user=x.User(name=«Q», x=null)",
    "its own map": "user=map[name:«Qa Qb» x:«Q»]",
    "a subscript": "user['first_name'] = '«Q»'",
    "SQL compares": "WHERE last_name LIKE '«%Q%»' AND email IN ('«Q»') OR user_id <> «7»",
    "SQL's apostrophe": "last_name = '«O''Q»'",
    "an apostrophe": "User(lastName=«O'Q», a='b'), firstName='«O'Q»', x",
    "PostgreSQL": "DETAIL:  Key (first_name, email)=(«Qa, Q») already exists.",
    "MySQL": "Duplicate entry '«Q»' for key 'users.username'",
    "a field": '<input name="first_name" id="x" value="«O\'Q»"/>',
    "a part": 'form-data; name="first_name"\r\n\r\n«Qa Qb»\r\n--x',
    "a header": "Host: x\r\nX-User-Email: «Q»\r\nX-Remote-User: «Q»\r\n",
    "a title": "1. User ID: «Q»\n2. Phone: «030 12345»\n<phone>«030 12345»</phone>",
    "tight": "firstname=«Qa Qb»\nlastname=«Q»",
    "a list of labels": "failed (username: «Qa», ip: x), first_name: «Qa Qb», n: 1, surname: «Q»",
    "in parentheses": "no account (user_id: «Qa»); last_name: «Q».",
    "in a quoted message": 'level=info msg="login failed, username: «Q»" x=y',
    "an apostrophe in a list": "failed (username: «O'Q», ip: x), n: 1, last_name: «O'Q»",
    "an id": "Processing user_id: «usr_8Q», step 3",
    "pairs": "[('username', '«Qa»'), (b'cookie', b'«a=Q; b=7»'), ('n', 1), ('user_id', «7»)]",
    "pairs of C": '{{"username", "«Q»"}, {"x", "y"}, {"last_name", "«Q»"}}',
    "pairs escaped": "[(\\'last_name\\', \\'«Qa»\\'), (\\'x\\', \\'y\\')]",
    "a call": "req.setHeader('Cookie', '«sid=Q»'); params.add(\n  \"api_key\", \"«7Q»\",\n)",
    "Node's headers": "rawHeaders: [\n 'Host', 'x', 'Cookie', '«sid=Q»', 'X-User-Email', '«Q»' ]",
    "entries": "[{'Name': 'email', 'Value': '«Q»'}, {'key': \"username\", 'value': b'«Q»'}]",
    "Go's entries": '[{Name:last_name Value:«Qa Qb» x:y}] {Key: "last_name", Value: "«Q»"}',
    "YAML's entries": '- name: USER_NAME\n  value: «Q»\n- name: PGPASSWORD\n  value: "«Q»"',
    "entries tight": "{'name':'email','value':'«Q»'} {:name=>'email', :value=>'«Q»'}",
    "Go's protobuf": 'headers:{key:"cookie"  value:"«a=Q»"} {key: "cookie"  value: "«Q»"}',
    "a line's value": "- name: COOKIE\n  value: «a=b; c=Q»  # x\n- key: dob\n  value: «1 May Q» \n",
    "Java's entry": f"[name=Cookie, value=«a=b;Q»] {{Name:last_name Value:«{'Q' * 99}»}}",
    "names of pairs": "[('2fa_code', '«7Q»'), ('custom:email', '«Q»'), ('last_name', '«Q»\nb",
    "three quotes": 'username="""«Q»""" + x',
}  # fmt: skip

# A value needs what is behind it there
UNCUT: Final = {
    "Go", "a map of Go", "YAML", "a label", "properties", "a header", "a title", "C#", "MySQL",
    "numpy and pandas", "its own type", "tight", "Go's entries", "YAML's entries",
    "its own record", "its own struct", "its own class", "its own map",
    "a line's value", "Java's entry",
}  # fmt: skip

LEFT: Final = [
    "username=None, email=null, surname: undefined",
    "user=%s username=$NAME email=${EMAIL} user_id={user_id}",
    "def f(username=None, email: str = '', user_id: int = 0, last_name: str | None = None):",
    "User(username=username, email=user.email, first_name=form.first_name)",
    "    username: str\n    first_name: Optional[str] = None\n    user_id: UUID\n    dob: date",
    "User: hello, how are you\nAssistant: fine", "user: What is the weather?", "email: Dear Bob",
    "<user>Hello there</user>", 'user: "How do I reset it?"', "Write an email: Dear Bob",
    "Dear <first_name>, welcome to <last_name>", "the user = admin",
    "last time I looked: it worked", 'if user == "x" and user_id != 3:',
    "for key: value in first: second", "max_tokens=100 key='x'",
    "user_id = Column(Integer, ForeignKey(users.id))", "WHERE x = :first_name",
    "user-agent: Mozilla/5.0", "const user = await getUser()", "user_prompt: hello world",
    "user_count=3 user_type=admin",
    "{'type': 'string', 'email': 'string', 'token': '...', 'username': '<username>'}",
    "print('user:', user)", 'n = input("Your username: ") + x', "label='Email:'",
    "- first_name: the user's first name", "first_name: 'First name'", "send-email: drop it",
    "firstName: 'First name'", "LIKE %s AND username = '%s'",
    "user=User(name=form.name, x=fn(y), z=a or b)", "email=EmailField(max_length=254)",
    "f\"user_id='{user_id}' email={user.email}\"", "self.username = username or default",
    "<p>Dear <first_name>, welcome</p>", 'headers["Authorization"] = "Basic " + encoded',
    "user=relationship('User')", "user_id IN (SELECT id FROM t WHERE s = 'open')",
    "{'user_id': {'type': 'string'}}", "for username in names:", "Phone: call me", "first in 2020",
    "fields = ('email', 'age')", "index(['user_id', 'age'], x)", "get('username', 'x')",
    "[('email', 'Email'), ('user_id', 'int64')]", "headers: ['user', 'x-request-id']",
    "for name: user value: x", "log.info('token', 'creating')", "x = [('token', 'a', 'b')]",
    "fun f(userName: String, userId: Int)", "{ userId: UserId, surname: string, x: y }",
    "first, last: the user, next: none", "(user: hello, assistant: hi)",
    "get('token', 0) or pad('secret', 10)", "Field(name='email', value=x)",
    "[('user', 'Hello, you'), ('assistant', 'fine')]", "- name: USER_NAME\n  value: $(USER)",
    "user=db.User.get(form)", "user=map[key]", "give (username: the name shown, last_name: a name)",
    "read:user user:email", "first: 1, last: 2", "x ? user : other", "std::user::name",
]  # fmt: skip

# What redaction writes has names in it
WRITTEN: Final = ["<EMAIL_ADDRESS>", "<PHONE_NUMBER>", "a j@x.org", "<CREDENTIAL>", "user="]


@pytest.mark.parametrize("notation", NOTATED)
def test_a_name_decides(redactor: Redactor, unscreened: Redactor, notation: str) -> None:
    """Scenario: each notation, alone and within prose. Guarantees: values go, nothing else does."""
    assert_values_go(redactor, unscreened, NOTATED[notation])


@pytest.mark.parametrize("text", LEFT)
def test_code_and_prose_stay(redactor: Redactor, unscreened: Redactor, text: str) -> None:
    """Scenario: names without a value, who speaks, types, placeholders. Guarantees: unchanged."""
    assert redactor.redact_text(text).text == text
    assert unscreened.redact_text(text).text == text


def test_what_redaction_wrote_names_nothing(redactor: Redactor, unscreened: Redactor) -> None:
    """Scenario: markup cut off behind an address. Guarantees: its token is no element's name."""
    text = "<b>mail j@x.org now</b"
    assert redactor.redact_text(text).text == "<b>mail <EMAIL_ADDRESS> now</b"
    assert unscreened.redact_text(text) == redactor.redact_text(text)


def test_what_redaction_wrote_costs_nothing(
    redactor: Redactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario: an address in prose, an address and a name. Guarantees: only the latter is read."""
    read: list[str] = []
    monkeypatch.setattr(
        "processors.redaction.redactor.redact_pairs", lambda text, *_: read.append(text)
    )
    redactor.redact_text("write to j@x.org now")
    assert read == []
    redactor.redact_text("write to j@x.org, user_id=u7")
    assert read == ["write to <EMAIL_ADDRESS>, user_id=u7"]


@pytest.mark.parametrize("end", ["</PHONE_NUMBER>", "</PHONE_NUM"])
def test_an_element_called_as_a_token_is(
    redactor: Redactor, unscreened: Redactor, end: str
) -> None:
    """Scenario: an element with the name of an entity. Guarantees: what is in it goes."""
    once = redactor.redact_text(f"<PHONE_NUMBER>Q{end}")
    assert "Q" not in once.text
    assert once == unscreened.redact_text(f"<PHONE_NUMBER>Q{end}")
    assert redactor.redact_text(once.text).text == once.text


@pytest.mark.parametrize("notation", sorted(set(NOTATED) - UNCUT))
def test_cut_off_anywhere(redactor: Redactor, notation: str) -> None:
    """Scenario: a text cut behind every character, as SDKs cut at a length.

    Guarantees: nothing of a value stays, but for an element's in text without any end of one.
    """
    text = "<a></a>" + plain(NOTATED[notation])
    for end in range(8, len(text) + 1):
        assert "Q" not in redactor.redact_text(text[:end]).text, text[:end]


@given(
    st.lists(st.sampled_from([*map(plain, NOTATED.values()), *LEFT, *WRITTEN]), max_size=3),
    st.text("\"'`\\=:<>(){}[], \nuser_id7Q", max_size=12),
    st.integers(0, 400),
)
@settings(max_examples=300)
def test_the_screen_misses_none(
    redactor: Redactor, unscreened: Redactor, texts: list[str], between: str, end: int
) -> None:
    """Scenario: notations mixed, cut and with signs between. Guarantees: as without a screen."""
    text = between.join(texts)[:end]
    once = redactor.redact_text(text)
    assert once == unscreened.redact_text(text)
    assert redactor.redact_text(once.text).text == once.text


def test_the_same_token_as_everywhere(redactor: Redactor) -> None:
    """Scenario: a name as attribute, in JSON and in notations. Guarantees: one token for all."""
    token = redactor.redact_text("Jane O'Neil", key="user.name").text
    assert (
        redactor.redact_text('{"user_name": "Jane O\'Neil"}').text == f'{{"user_name": "{token}"}}'
    )
    less = redactor.redact_text("O'N<b", key="user.name").text
    assert less in redactor.redact_text(r"user_name='O\'N<b'").text
    for text in (r"user_name='Jane O\'Neil'", 'user_name: "Jane O\'Neil"'):
        assert token in redactor.redact_text(text).text


def test_rules_come_first(redactor: Redactor) -> None:
    """Scenario: an address behind a name. Guarantees: it is called what it is, as ever."""
    assert redactor.redact_text("email='a.b@corp.test'").findings[0].entity == "EMAIL_ADDRESS"


def test_the_users_own_names_and_operators() -> None:
    """Scenario: globs, a kept and a masked kind. Guarantees: as configured, and at rest."""
    own = Redactor(
        RedactionSettings.model_validate(
            {
                "identity_keys": ["acme.who*", "__"],
                "credential_keys": ["*_blob"],
                "blocked_key_patterns": ["^internal"],
                "operators": {"IDENTITY": {"type": "mask", "keep_first": 1, "keep_last": 0}},
            }
        )
    )
    text = "__=Q acme.whoever=Quentin the_blob='Q Q' internal_note: \"Q\" other=b username=Quentin"
    masked = (
        "__=* acme.whoever=Q****** the_blob='<CREDENTIAL>' internal_note: \"<BLOCKED>\" other=b"
        " username=Q******"
    )
    assert own.redact_text(text).text == masked
    assert own.redact_text(masked).text == masked
    kept = Redactor(RedactionSettings.model_validate({"operators": {"IDENTITY": {"type": "keep"}}}))
    assert kept.redact_text("username='jane'").text == "username='jane'"


def test_hostile_texts_take_linear_time(redactor: Redactor) -> None:
    """Scenario: 60 kB of what begins notations and never ends them. Guarantees: it comes back."""
    for piece in (
        "user_id=[",
        "<first_name ",
        "user_id='",
        "user_id=b'",
        "user_name: a ",
        'user_name=\\"',
        "a.b-",
    ):
        text = piece * (60_000 // len(piece))
        assert len(redactor.redact_text(text).text) > 0
