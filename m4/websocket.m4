# Macros of mod_websocket's configure.ac

# WS_CC_FLAGS(VARIABLE, FLAGS): those FLAGS that the compiler knows.
AC_DEFUN([WS_CC_FLAGS], [
$1=
for ws_flag in $2; do
    AC_MSG_CHECKING([whether $CC knows $ws_flag])
    ws_save_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -Werror $ws_flag"
    AC_COMPILE_IFELSE([AC_LANG_SOURCE([int ws_unused;])],
        [AC_MSG_RESULT([yes]); $1="$$1 $ws_flag"],
        [AC_MSG_RESULT([no])])
    CFLAGS=$ws_save_CFLAGS
done
])

# WS_MISSING(WHAT, DEBIAN-PACKAGE, FEDORA-PACKAGE): noted for the end.
AC_DEFUN([WS_MISSING], [
ws_missing="$ws_missing
    $1
        Debian, Ubuntu: $2    Fedora, RHEL: $3"
AS_CASE([" $ws_debian "], [*" $2 "*], [], [ws_debian="$ws_debian $2"])
AS_CASE([" $ws_fedora "], [*" $3 "*], [], [ws_fedora="$ws_fedora $3"])
])

# WS_REPORT_MISSING: one error for all of it.
AC_DEFUN([WS_REPORT_MISSING], [
AS_IF([test -n "$ws_missing"], [AC_MSG_ERROR([missing:
$ws_missing

    Debian, Ubuntu:  apt-get install --no-install-recommends$ws_debian
    Fedora, RHEL:    dnf install$ws_fedora
])])
])

# WS_INCLUDE_FLAGS(VARIABLE, FLAGS): -I as -isystem, so that warnings in other
# people's headers are not ours. /usr/include stays away: naming it would
# change the order in which the compiler looks for its own headers.
AC_DEFUN([WS_INCLUDE_FLAGS], [
$1=
for ws_flag in $2; do
    AS_CASE([$ws_flag],
        [-I/usr/include|-isystem/usr/include], [],
        [-I*], [$1="$$1 -isystem `AS_ECHO(["$ws_flag"]) | $SED 's/^-I//'`"],
        [-D*|-pthread], [$1="$$1 $ws_flag"])
done
AC_SUBST([$1])
])

# WS_PKG(PREFIX, SPEC, WHAT, DEBIAN-PACKAGE, FEDORA-PACKAGE)
AC_DEFUN([WS_PKG], [
PKG_CHECK_MODULES([$1], [$2],
    [WS_INCLUDE_FLAGS([$1_CFLAGS], [$$1_CFLAGS])],
    [WS_MISSING([$3], [$4], [$5])])
])

# WS_APR(PREFIX, apr|apu, HEADER, MIN-VERSION, DEBIAN-PACKAGE, FEDORA-PACKAGE):
# by the script that httpd was built with.
AC_DEFUN([WS_APR], [
AC_MSG_CHECKING([for $2-1-config >= $4])
ws_config=
AS_IF([test -n "$APXS"], [ws_config=`$APXS -q $1_CONFIG 2>/dev/null`])
AS_IF([test -x "$ws_config"], [], [ws_config=`command -v $2-1-config`])
ws_version=none
AS_IF([test -n "$ws_config"], [ws_version=`$ws_config --version`])
AC_MSG_RESULT([$ws_version])
ws_found=no
AS_IF([test "$ws_version" != none], [
    AS_VERSION_COMPARE([$ws_version], [$4], [], [ws_found=yes], [ws_found=yes])
])
AS_IF([test $ws_found = yes], [
    $1_LIBS=`$ws_config --link-ld`
    WS_INCLUDE_FLAGS([$1_CFLAGS], [`$ws_config --includes`])
    CPPFLAGS="$ws_save_CPPFLAGS $APR_CFLAGS $$1_CFLAGS"
    AC_CHECK_HEADER([$3], [], [ws_found=no])
    CPPFLAGS=$ws_save_CPPFLAGS
])
AS_IF([test $ws_found = no], [WS_MISSING([$2-1-config and $3, $4 or newer],
    [$5], [$6])])
AC_SUBST([$1_LIBS])
])
