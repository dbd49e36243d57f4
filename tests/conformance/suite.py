"""All files with cases, which register themselves."""
import cases_opening        # noqa: F401
import cases_extensions     # noqa: F401
import cases_framing        # noqa: F401
import cases_fragments      # noqa: F401
import cases_control        # noqa: F401
import cases_close          # noqa: F401
import cases_data           # noqa: F401
import cases_utf8           # noqa: F401
import cases_limits         # noqa: F401
import cases_deflate        # noqa: F401
import cases_http2          # noqa: F401
