"""What is known of other people's errors by their class and by their words: tables, no code.

Classes are named as users import them, by package and class (`ray.ActorDiedError`): private modules
move between releases, and naming needs no import.
"""

from __future__ import annotations

import re

from lexigram_ray.core.types import FailureCategory

TRANSIENT = FailureCategory.TRANSIENT
PERMANENT = FailureCategory.PERMANENT
THROTTLED = FailureCategory.THROTTLED
INVALID_INPUT = FailureCategory.INVALID_INPUT


def _table(listed: dict[FailureCategory, str]) -> dict[str, FailureCategory]:
    return {name: category for category, names in listed.items() for name in names.split()}


TYPES = _table(
    {
        THROTTLED: """
            openai.RateLimitError anthropic.RateLimitError cohere.TooManyRequestsError
            google.TooManyRequests google.ResourceExhausted ray.PendingCallsLimitExceeded
            ray.BackPressureError botocore.TooManyRequestsException""",
        TRANSIENT: """
            ray.WorkerCrashedError ray.NodeDiedError ray.LocalRayletDiedError ray.ObjectLostError
            ray.OutOfMemoryError ray.OutOfDiskError ray.ObjectStoreFullError ray.OwnerDiedError
            ray.ActorUnavailableError ray.GetTimeoutError ray.TaskCancelledError
            ray.TaskUnschedulableError ray.ActorUnschedulableError ray.RayChannelError
            ray.PlasmaObjectNotAvailable ray.TaskPlacementGroupRemoved
            ray.ActorPlacementGroupRemoved ray.RpcError
            torch.OutOfMemoryError torch.cuda.OutOfMemoryError builtins.MemoryError
            builtins.ConnectionError builtins.TimeoutError builtins.InterruptedError
            builtins.BlockingIOError builtins.KeyboardInterrupt
            asyncio.TimeoutError asyncio.CancelledError concurrent.CancelledError
            concurrent.BrokenProcessPool concurrent.BrokenExecutor multiprocessing.TimeoutError
            multiprocessing.AuthenticationError queue.Empty queue.Full subprocess.TimeoutExpired
            _queue.Empty
            kreuzberg.ExtractionTimeoutError kreuzberg.ExtractionCancelledError
            kreuzberg.CacheError kreuzberg.OCRError
            openai.APITimeoutError openai.InternalServerError psycopg.PoolTimeout
            aiohttp.BadHttpMessage
            sqlalchemy.TimeoutError filelock.Timeout huggingface_hub.OfflineModeIsEnabled""",
        PERMANENT: """
            ssl.SSLCertVerificationError ray.AuthenticationError ray.ActorHandleNotFoundError
            ray.ActorAlreadyExistsError ray.RuntimeEnvSetupError
            builtins.ImportError builtins.SyntaxError builtins.NotImplementedError
            builtins.RecursionError
            huggingface_hub.RepositoryNotFoundError huggingface_hub.RevisionNotFoundError
            huggingface_hub.EntryNotFoundError huggingface_hub.GatedRepoError
            huggingface_hub.HFValidationError safetensors.SafetensorError
            kreuzberg.MissingDependencyError kreuzberg.PluginError pickle.PickleError
            httpx.UnsupportedProtocol httpx.InvalidURL httpx.TooManyRedirects
            httpx.LocalProtocolError requests.MissingSchema requests.InvalidSchema
            requests.InvalidURL requests.TooManyRedirects aiohttp.InvalidURL
            urllib3.LocationParseError pydantic_core.ValidationError
            openai.AuthenticationError openai.PermissionDeniedError openai.NotFoundError
            sqlalchemy.ArgumentError sqlalchemy.NoSuchModuleError sqlalchemy.NoSuchTableError
            subprocess.CalledProcessError""",
        INVALID_INPUT: """
            builtins.UnicodeError json.JSONDecodeError zipfile.BadZipFile zipfile.LargeZipFile
            gzip.BadGzipFile zlib.error _lzma.LZMAError tarfile.TarError
            lxml.LxmlError xml.ParseError PIL.UnidentifiedImageError PIL.DecompressionBombError
            pypdf.PyPdfError docx.PackageNotFoundError openpyxl.InvalidFileException
            kreuzberg.ParsingError kreuzberg.ValidationError kreuzberg.ImageProcessingError
            binascii.Error csv.Error _csv.Error email.MessageError
            yaml.YAMLError tomllib.TOMLDecodeError builtins.EOFError
            openai.UnprocessableEntityError""",
    }
)
"""Classes that say what has happened."""

BROAD_TYPES = _table(
    {
        TRANSIENT: """
            httpx.TransportError httpcore.TimeoutException httpcore.NetworkError
            httpcore.ProtocolError requests.ConnectionError requests.Timeout
            requests.ChunkedEncodingError urllib3.HTTPError urllib.URLError http.HTTPException
            aiohttp.ClientConnectionError aiohttp.ClientPayloadError openai.APIConnectionError
            grpc.RpcError socket.gaierror ssl.SSLError ray.RaySystemError ray.ActorDiedError
            sqlalchemy.DisconnectionError""",
        PERMANENT: """
            builtins.TypeError builtins.AttributeError builtins.NameError builtins.AssertionError
            builtins.FileNotFoundError builtins.PermissionError builtins.IsADirectoryError
            builtins.NotADirectoryError builtins.FileExistsError
            psycopg.ProgrammingError psycopg.IntegrityError psycopg.NotSupportedError
            sqlite3.ProgrammingError sqlite3.IntegrityError sqlite3.NotSupportedError""",
        INVALID_INPUT: "psycopg.DataError",
    }
)
"""Classes that say something, but less than a code does, or than a certificate's refusal below."""

LAST_TYPES = _table(
    {
        INVALID_INPUT: "pyarrow.ArrowInvalid",
        PERMANENT: "pyarrow.ArrowTypeError pyarrow.ArrowNotImplementedError",
        TRANSIENT: "pyarrow.ArrowCancelled pyarrow.ArrowCapacityError psycopg.OperationalError",
    }
)
"""Classes that decide where the words do not."""

# The order matters: what ends an account is said in the words of a limit, and a text that is too
# long in those of a server's error.
_TEXTS = (
    (PERMANENT, "no_credit", r"insufficient_quota|billing|out of credits?|payment required"),
    (
        INVALID_INPUT,
        "too_long",
        r"context[ _]length|(input|sequence|prompt|text) (is |was )?too (long|large)"
        r"|too many (input )?tokens|(maximum|at most|exceed\w*|less than|more than) .{0,40}token"
        r"|too large to process|request (entity )?too large|payload too large"
        r"|exceeds? .{0,40}(limit|maximum) .{0,20}(length|size)|string or blob too big",
    ),
    (
        THROTTLED,
        "throttled",
        r"rate.?limit|too many requests|throttl|quota exceeded|exceeded .{0,30}quota"
        r"|resource.?exhausted|slow ?down|tokens per min|requests per min"
        r"|please (try again|retry) (in|after) \d",
    ),
    (
        PERMANENT,
        "denied",
        r"certificate.?verify.?failed|self.signed certificate|unauthori[sz]ed|\bforbidden\b"
        r"|(invalid|incorrect|wrong|missing|bad).{0,20}(api.?key|token\b|credential|password)"
        r"|authentication.{0,20}(failed|required)|permission denied|access (is )?denied"
        r"|operation not permitted|read-?only (file system|database|transaction)"
        r"|readonly database|no pg_hba.conf entry|(database|role) \"[^\"]*\" does not exist",
    ),
    (
        PERMANENT,
        "wrong_model",
        r"unrecognized model|model type|recognize this (architecture|model)|deserializing header"
        r"|exception from src/|unable to read the model|not registered|not compiled with"
        r"|repo id must|repo_id|\d+ validation errors? for|extra inputs",
    ),
    (
        PERMANENT,
        "damaged_store",
        r"not a database|database .{0,20}(malformed|corrupt)"
        r"|(invalid|malformed|pars(e|ing)) .{0,20}\bur[li]\b",
    ),
    (
        TRANSIENT,
        "out_of_memory",
        r"out of memory|cannot allocate memory|can't allocate memory|unable to allocate"
        r"|bad_alloc|memory monitor|failed to allocate|not enough memory|running low on memory",
    ),
    (
        TRANSIENT,
        "disk_full",
        r"no space left|disk quota exceeded|disk (is )?full|out of disk",
    ),
    (
        TRANSIENT,
        "conflict",
        r"commit conflict|concurrent(ly)? (write|update|modif|delete|transaction|commit)\w*"
        r"|(database|table|file)( \w+)? is (\w+ )?locked|deadlock detected|could not serialize"
        r"|lock (wait )?timeout|could not obtain lock|preempted by|resource busy"
        r"|transaction (is|was) aborted by",
    ),
    (
        PERMANENT,
        "wrong_shape",
        r"sizes? of tensors|broadcast together|cannot reshape|invalid for input of size"
        r"|(schema|dimension|shape|type|dtype|column)s?.{0,60}(mismatch|do(es)? not match"
        r"|must match|cannot be multiplied|incompatible|not compatible)"
        r"|(mismatch|different|incompatible).{0,30}(schema|dimension|shape|dtype)"
        r"|expected .{0,60}(dtype|dimension|shape|scalar type|channels)"
        r"|cannot be multiplied|not divisible|size mismatch|cannot be cast|no field named"
        r"|out of bounds for dimension|must be the same",
    ),
    (
        INVALID_INPUT,
        "damaged",
        r"password.{0,30}(protected|required|needed|incorrect)|\bencrypted\b|\bcorrupt"
        r"|truncated|malformed|not a (zip|pdf|gzip|parquet|valid|png|word)"
        r"|invalid (\w+ ){0,3}(file|header|magic|signature|archive|document|image|start byte"
        r"|continuation byte|xml|pdf|zip|code lengths|block type|compressed data|bit length"
        r"|distance|stored block|escape|control character|byte|literal|character|token\b)"
        r"|can.?not (decode|parse|identify)|can't (decode|parse|encode)|decod(e|ing) error"
        r"|codec can't|(error|failed|unable|could not|cannot) .{0,40}(pars|decod|decompress)"
        r"|pars(e|ing) error|failed to (parse|decode)|magic (number|bytes)|bad (crc|magic)"
        r"|crc.?(check|error|mismatch)|not well-formed|no (element|root|tree) found"
        r"|syntax error in (the )?document|document is empty|start tag expected"
        r"|(unexpected|premature) end (of|tag)|unexpected eof|eof (marker|while|before)"
        r"|ended before|unterminated|expecting (value|property name|',' delim|':' delim)"
        r"|extra data|opening and ending tag|does not support|unsupported (file|format|mime|image)"
        r"|incorrect (header|data) check|incorrect padding|surrogates not allowed"
        r"|not an arrow file|central directory|end-of-central|no eocd|(file|data) too short"
        r"|premature|could not convert|invalid (input|value|literal|\w+ string)"
        r"|format not supported|smaller than the"
        r"|empty (csv|file|document)|expected .{0,30}but (got|found)|not been decrypted"
        r"|needs a password|starts with .{0,40}expected|expected \d+ columns"
        r"|new-?line character seen|field larger than|\bbad request\b|validation (error|fail\w*)"
        r"|invalid (json|data|format|request|payload)",
    ),
    (
        TRANSIENT,
        "unreachable",
        r"tim(e|ed|ing)[ -]?out|connection.{0,60}(refused|reset|closed|aborted|lost|failed|error"
        r"|broken|terminat)|(connect|connection) to .{0,80}failed|refused.{0,20}connection"
        r"|(server|peer|remote \w+).{0,30}(disconnected|closed|not respond|unavailable)"
        r"|without sending|temporar(y|ily)|\bunavailable\b|network (is )?(down|unreachable)"
        r"|no route to host|name or service not known|name resolution|nodename nor servname"
        r"|broken pipe|bad gateway|internal server error|overloaded|try again"
        r"|deadline exceeded|terminating connection|shutting down|starting up"
        r"|too many (open files|connections|clients)|resource deadlock|interrupted system call"
        r"|stale file handle|input/output error|disk i/o error|all connection attempts failed"
        r"|cannot connect|unexpected_eof|eof occurred in violation|wrong.version.number"
        r"|incompleteread|incomplete (chunked )?read|illegal (status|header) line"
        r"|(chunk|protocol) .{0,20}error|interrupted$",
    ),
    (
        TRANSIENT,
        "worker_died",
        r"(worker|actor|node|process|raylet|owner|embedder).{0,60}"
        r"\b(died|crashed|was killed|is dead|has died|unexpectedly|terminated abruptly|lost)"
        r"|object .{0,80}(lost|evicted|fetch)|failed to retrieve object|(was|been) cancell?ed",
    ),
    (
        PERMANENT,
        "missing",
        r"\bno module named|cannot import name|no such (file|table|column|host|function)"
        r"|(was|were|is|are|be|not) (not )?found\b|does not exist|doesn't exist"
        r"|unknown (model|url|host|database)"
        r"|(can.?not|could not|unable to) (find|open|locate|load)"
        r"|is not a (local folder|valid model)|no file named|can.?t load|\bnot found\b"
        r"|couldn't (find|connect to 'https)|unable to open database file",
    ),
    (
        PERMANENT,
        "wrong_use",
        r"has no attribute|takes .{0,40}positional argument|unexpected keyword argument"
        r"|(missing|required) .{0,20}(argument|keyword)|unsupported operand"
        r"|is not (callable|iterable|subscriptable|defined|json serializable)|object is not"
        r"|not implemented|syntax error|unique constraint"
        r"|constraint (failed|violat)|violates .{0,40}constraint|cannot pickle|can't pickle"
        r"|must be (a |an )?(str|int|real|bytes|tuple|list)\b|unrecognized (argument|request)"
        r"|maximum recursion|unsupported protocol|missing an 'http|no host supplied"
        r"|is a directory|not a directory|too many levels of symbolic|file name too long"
        r"|file exists|already exists|invalid syntax|object of type|bad file descriptor"
        r"|invalid argument|not supported|(allowed|exceeded).{0,20} redirects"
        r"|unsupported url|url can't contain|no connection adapters|input should be|field required"
        r"|read of closed file|operation on closed|closed (database|file)|no scheme supplied"
        r"|could not deserialize|no driver|incorrect number of bindings",
    ),
    # Of Lance what passes stands above.
    (PERMANENT, "table", r"lanceerror\(|/lance[\w-]*/src/"),
)
TEXTS = tuple((category, code, re.compile(words, re.I)) for category, code, words in _TEXTS)
"""Category, code and words, in the order in which they are looked for."""
