"""The column types of MariaDB 10.11 and MySQL 9.7, each with its extremes and what is hard to keep.

Values are SQL, true in a session of the mode ``ALLOW_INVALID_DATES``. NULL goes with every type.
"""

from __future__ import annotations

from dataclasses import dataclass

SERVERS = ("MariaDB", "MySQL")
_EVERY_BYTE = "".join(f"{code:02X}" for code in range(256))
_LATIN1 = "".join(f"{code:02X}" for code in range(1, 256) if code not in {0x81, 0x8D, 0x8F, 0x90, 0x9D})
_JSON = '\'{"b": [1.10, null],  "a": "\\\\"\\\\u00e9"}\''
_BYTES = "HEX(value)"
_NUMBER = "value, value+0e0"
_TEXT = "HEX(value), value"


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A type; ``keys`` are values of a primary key of it, none where it is to be refused as one.

    ``seen`` is SQL that shows a value of the column ``value`` whole.
    """

    sql: str
    values: tuple[str, ...]
    keys: tuple[str, ...] = ()
    seen: str = f"{_BYTES}, value+0e0"
    only: str | None = None

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers that have it."""
        return (self.only,) if self.only else SERVERS


_EVERYWHERE = (
    ColumnType("BOOL", ("7", "0", "1"), seen=_NUMBER),
    ColumnType("TINYINT", ("-128", "127"), ("-128", "0x41", "1"), _NUMBER),
    ColumnType("TINYINT(1)", ("7", "-128", "127"), seen=_NUMBER),
    ColumnType("TINYINT UNSIGNED", ("0", "255"), ("0x01", "255"), _NUMBER),
    ColumnType("SMALLINT", ("-32768", "32767"), ("-1", "32767"), _NUMBER),
    ColumnType("SMALLINT UNSIGNED", ("0", "65535"), ("1", "65535"), _NUMBER),
    ColumnType("MEDIUMINT", ("-8388608", "8388607"), ("-1", "8388607"), _NUMBER),
    ColumnType("MEDIUMINT UNSIGNED", ("16777215",), ("1", "16777215"), _NUMBER),
    ColumnType("INT", ("-2147483648", "2147483647"), ("1", "-1", "'007'"), _NUMBER),
    ColumnType("INT UNSIGNED", ("4294967295",), ("1", "4294967295"), _NUMBER),
    ColumnType("INT(6) UNSIGNED ZEROFILL", ("42", "4294967295"), ("42", "4294967295"), _NUMBER),
    ColumnType("BIGINT", ("-9223372036854775808", "9223372036854775807"), ("-9223372036854775808",), _NUMBER),
    ColumnType(
        "BIGINT UNSIGNED",
        ("18446744073709551615", "9007199254740993"),
        ("18446744073709551615", "'18446744073709551614'", "9007199254740993"),
        _NUMBER,
    ),
    ColumnType(
        "DECIMAL(65,30)",
        ("12345678901234567890123456789012345.123456789012345678901234567890", "-0.1", "0"),
        ("12345678901234567890123456789012345.123456789012345678901234567890", "-0.1"),
        _NUMBER,
    ),
    ColumnType("DECIMAL(10,2)", ("99999999.99", "-0.01"), ("1.5", "'-1.50'", "7"), _NUMBER),
    ColumnType("DECIMAL(5,0)", ("99999",), ("99999", "-7"), _NUMBER),
    ColumnType("DECIMAL(8,2) UNSIGNED", ("999999.99", "0"), ("1.25",), _NUMBER),
    ColumnType("DECIMAL(8,2) ZEROFILL", ("1.5",), seen=_NUMBER),
    ColumnType("FLOAT", ("0.1", "-3.4028234e38", "1.17549435e-38", "16777216", "0.3333333"), seen=_NUMBER),
    ColumnType("FLOAT(7,3)", ("1234.567", "-0.001"), seen=_NUMBER),
    ColumnType(
        "DOUBLE",
        (
            "0.1",
            "1.7976931348623157e308",
            "2.2250738585072014e-308",
            "-0e0",
            "123456789.123456789",
            "1e15",
            "1e-7",
        ),
        seen=_NUMBER,
    ),
    ColumnType("DATE", ("'2024-02-29'", "'0000-00-00'", "'9999-12-31'", "'2024-00-00'"), ("'2024-02-29'",)),
    ColumnType("DATETIME", ("'0000-00-00 00:00:00'", "'2024-02-29 23:59:59'"), ("'2024-02-29 23:59:59'",)),
    ColumnType(
        "DATETIME(3)",
        ("'2024-02-29 12:00:00.5'", "'9999-12-31 23:59:59.999'"),
        ("'2024-02-29 12:00:00.5'", "'2024-02-29'"),
    ),
    ColumnType(
        "DATETIME(6)",
        ("'2024-02-29 23:59:59.000001'", "'1000-01-01 00:00:00.500000'"),
        ("'2024-02-29 23:59:59.000001'",),
    ),
    ColumnType("TIME", ("'838:59:59'", "'-838:59:59'", "'00:00:00'")),
    ColumnType("TIME(3)", ("'-00:00:00.001'", "'100:00:00.250'")),
    ColumnType("TIME(6)", ("'-838:59:58.999999'", "'00:00:00.000001'")),
    ColumnType("TIMESTAMP NULL", ("'2024-10-27 02:30:00'", "'0000-00-00 00:00:00'", "'2038-01-19 04:14:07'")),
    ColumnType("TIMESTAMP(6) NULL", ("'1970-01-02 00:00:00.000001'", "'2024-06-01 12:00:00.120000'")),
    ColumnType("YEAR", ("0", "1901", "2155"), ("2024", "0")),
    ColumnType("CHAR(20)", ("'pad me'", "''", "'''\"\\\\%_'"), ("'pad me'", "''", "'a '")),
    ColumnType(
        "VARCHAR(60)",
        ("'trailing  '", "''", "'x'"),
        ("'Abc'", "'a,b'", "'zz'') or (''1''=''1'", "'😀'", "'x\\\\y'", "''", "12"),
    ),
    ColumnType(
        "VARCHAR(400)",
        (
            "'trailing  '",
            "''",
            "'quote '' double \" back \\\\ slash \\n \\0 \\Z \\t'",
            "'; DROP TABLE t; -- '",
        ),
        ("'" + "long key " * 40 + "'", "'short'"),
    ),
    ColumnType(
        "VARCHAR(700) CHARACTER SET latin1",
        (f"_latin1 X'{_LATIN1}'", "'é'"),
        ("'" + "700 bytes " * 70 + "'", "'" + "700 BYTES " * 69 + "'"),
    ),
    ColumnType(
        "VARCHAR(40) COLLATE utf8mb4_unicode_ci",
        ("'Straße 😀 é'", "_utf8mb4 X'F48FBFBF'", "_utf8mb4 X'E280A8'"),
        ("'Straße'", "'a '"),
    ),
    ColumnType("VARCHAR(20) COLLATE utf8mb4_bin", ("'Abc'", "'a  '"), ("'Abc'", "'abc'")),
    ColumnType("VARCHAR(20) CHARACTER SET latin1", ("'é'", "_latin1 X'A0FF'"), ("'é'", "'Ünï'")),
    ColumnType("VARCHAR(20) CHARACTER SET ascii", ("'~'", "''"), ("'A'", "'~'")),
    ColumnType("VARCHAR(40) CHARACTER SET gbk", ("_gbk X'D6D0B9FA'", "_gbk X'815C'"), ("'abc'",)),
    ColumnType("VARCHAR(40) CHARACTER SET sjis", ("_sjis X'835C835C'",), ("'abc'",)),
    ColumnType("VARCHAR(40) CHARACTER SET utf16", ("_utf16 X'D83DDE00'",), ("'abc'",)),
    ColumnType("VARCHAR(40) CHARACTER SET cp1251", ("_cp1251 X'C0FF98'",), ("'abc'",)),
    ColumnType("TINYTEXT", ("REPEAT('ü', 127)",)),
    ColumnType("TEXT", ("REPEAT('ß\\\\\"', 1000)", "'\\r\\n'")),
    ColumnType("MEDIUMTEXT", ("REPEAT('x', 70000)",)),
    ColumnType("LONGTEXT CHARACTER SET utf8mb3", ("'日本語'",)),
    ColumnType("BINARY(4)", ("X'00FF0000'", "X''"), ("X'00FF0000'", "0x0001")),
    ColumnType(
        "BINARY(16)",
        ("X'123e4567e89b12d3a456426614174000'",),
        ("X'123e4567e89b12d3a456426614174000'", "0x0001"),
    ),
    ColumnType(
        "VARBINARY(700)", (f"X'{_EVERY_BYTE}'", "X''"), (f"X'{'AB' * 700}'", f"X'{'AB' * 699}'", "'text'")
    ),
    ColumnType("TINYBLOB", ("X'00'", "REPEAT(X'FF', 255)")),
    ColumnType("BLOB", (f"REPEAT(X'{_EVERY_BYTE}', 20)", "X'00'")),
    ColumnType("MEDIUMBLOB", (f"REPEAT(X'{_EVERY_BYTE}', 300)",)),
    ColumnType("LONGBLOB", ("X'27225C00'",)),
    ColumnType("BIT(1)", ("b'1'",), ("1",)),
    ColumnType("BIT(8)", ("b'101'", "255"), ("b'101'", "6")),
    ColumnType("BIT(64)", ("18446744073709551615",), ("18446744073709551615", "1")),
    ColumnType("ENUM('a','b''c','')", ("'b''c'", "''", "1"), ("'b''c'", "'a'")),
    ColumnType("SET('x','y','z')", ("'x,z'", "''")),
    ColumnType("POINT", ("ST_GeomFromText('POINT(1.5 -2.25)')",), seen=f"{_BYTES}, ST_AsText(value)"),
    ColumnType("LINESTRING", ("ST_GeomFromText('LINESTRING(0 0, 1e-9 1e9)')",), seen=_BYTES),
    ColumnType("POLYGON", ("ST_GeomFromText('POLYGON((0 0, 4 0, 4 4, 0 0))')",), seen=_BYTES),
    ColumnType("MULTIPOINT", ("ST_GeomFromText('MULTIPOINT(1 1, 2 2)')",), seen=_BYTES),
    ColumnType("MULTILINESTRING", ("ST_GeomFromText('MULTILINESTRING((0 0, 1 1))')",), seen=_BYTES),
    ColumnType("MULTIPOLYGON", ("ST_GeomFromText('MULTIPOLYGON(((0 0, 4 0, 4 4, 0 0)))')",), seen=_BYTES),
    ColumnType("GEOMETRYCOLLECTION", ("ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2))')",), seen=_BYTES),
    ColumnType("GEOMETRY", ("ST_GeomFromText('POINT(1 2)')",), seen=_BYTES),
)
_MARIADB = (
    ColumnType("JSON", (_JSON, "'1e400'", "'\"x\"'"), seen=_BYTES, only="MariaDB"),
    ColumnType(
        "UUID",
        ("'123e4567-e89b-12d3-a456-426614174000'",),
        ("'123E4567-E89B-12D3-A456-426614174000'",),
        "value",
        "MariaDB",
    ),
    ColumnType("INET4", ("'192.0.2.1'", "'0.0.0.0'"), seen="value", only="MariaDB"),
    ColumnType("INET6", ("'::ffff:192.0.2.1'", "'2001:db8::1'"), seen="value", only="MariaDB"),
    ColumnType("VARCHAR(20) COLLATE utf8mb4_nopad_bin", ("'a '",), ("'a'", "'a '"), only="MariaDB"),
    ColumnType("VARCHAR(200) COMPRESSED", ("REPEAT('x', 200)",), seen=_TEXT, only="MariaDB"),
)
_MYSQL = (
    ColumnType(
        "JSON",
        (
            _JSON,
            "'\"x\"'",
            "'null'",
            "'[1e308, 18446744073709551615, -0.0, 0.1]'",
            "'123456789.123456789'",
        ),
        seen="HEX(CAST(value AS CHAR))",
        only="MySQL",
    ),
    ColumnType("VARCHAR(40) COLLATE utf8mb4_0900_as_cs", ("'Straße 😀 é '",), ("'a'", "'A'"), only="MySQL"),
    ColumnType(
        "VARCHAR(20) COLLATE utf8mb4_0900_ai_ci", ("'é '",), ("'Straße'", "'a'", "'a '"), only="MySQL"
    ),
    ColumnType("VARCHAR(20) COLLATE utf8mb4_0900_bin", ("'a '",), ("'Abc'", "'a'", "'a '"), only="MySQL"),
    ColumnType("VECTOR(3)", ("STRING_TO_VECTOR('[1, -2.5, 0.1]')",), seen=_BYTES, only="MySQL"),
    ColumnType(
        "GEOMETRY SRID 4326",
        ("ST_GeomFromText('LINESTRING(1 2, 3 4.5)', 4326)",),
        seen=f"{_BYTES}, ST_SRID(value)",
        only="MySQL",
    ),
)
TYPES = _EVERYWHERE + _MARIADB + _MYSQL


def types_of(server: str) -> list[ColumnType]:
    """The types that a server has."""
    return [each for each in TYPES if server in each.servers]
