<?php
// Carries out, by PDO (with real or emulated prepared statements) or mysqli, what tests/clients/conversation.py
// asks for.
declare(strict_types=1);

interface Client
{
    public function execute(string $sql, array $parameters): array;

    public function query(string $sql, array $parameters): array;

    public function batch(string $sql, array $rows): array;

    public function begin(): void;

    public function commit(): void;

    public function rollback(): void;
}

final class PdoClient implements Client
{
    private PDO $pdo;

    public function __construct(bool $emulated, bool $persistent = false)
    {
        $place = sprintf(
            'mysql:host=%s;port=%s;dbname=%s;charset=utf8mb4',
            getenv('DB_HOST'), getenv('DB_PORT'), getenv('DB_SCHEMA'),
        );
        $this->pdo = new PDO($place, getenv('DB_USER'), getenv('DB_PASSWORD'), [
            PDO::ATTR_EMULATE_PREPARES => $emulated,
            PDO::ATTR_PERSISTENT => $persistent,
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        ]);
    }

    public function execute(string $sql, array $parameters): array
    {
        $statement = $this->run($sql, $parameters);
        return ['affected' => $statement->rowCount(), 'id' => $this->pdo->lastInsertId()];
    }

    public function query(string $sql, array $parameters): array
    {
        return ['rows' => array_map(texts(...), $this->run($sql, $parameters)->fetchAll(PDO::FETCH_NUM))];
    }

    public function batch(string $sql, array $rows): array
    {
        $statement = $this->pdo->prepare($sql);
        $counts = [];
        foreach ($rows as $row) {
            self::bind($statement, $row);
            $statement->execute();
            $counts[] = $statement->rowCount();
        }
        return ['affected' => $counts];
    }

    public function begin(): void
    {
        $this->pdo->beginTransaction();
    }

    public function commit(): void
    {
        $this->pdo->commit();
    }

    public function rollback(): void
    {
        if (!$this->pdo->inTransaction()) {
            return;  // a commit that failed has ended it
        }
        $this->pdo->rollBack();
    }

    private function run(string $sql, array $parameters): PDOStatement
    {
        $statement = $this->pdo->prepare($sql);
        self::bind($statement, $parameters);
        $statement->execute();
        return $statement;
    }

    private static function bind(PDOStatement $statement, array $parameters): void
    {
        foreach (array_values($parameters) as $index => $each) {
            $type = match (true) {
                is_array($each) => PDO::PARAM_LOB,
                is_int($each) => PDO::PARAM_INT,
                $each === null => PDO::PARAM_NULL,
                default => PDO::PARAM_STR,
            };
            $statement->bindValue($index + 1, value($each), $type);
        }
    }
}

/** Plain queries where there are no parameters, prepared statements where there are. */
final class MysqliClient implements Client
{
    private mysqli $link;
    private int|string $affected;

    public function __construct(bool $persistent = false)
    {
        mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
        $this->link = new mysqli(
            ($persistent ? 'p:' : '') . getenv('DB_HOST'), getenv('DB_USER'), getenv('DB_PASSWORD'), getenv('DB_SCHEMA'), (int) getenv('DB_PORT'),
        );
        $this->link->set_charset('utf8mb4');
    }

    public function execute(string $sql, array $parameters): array
    {
        $this->run($sql, $parameters);
        return [
            'affected' => $this->affected,
            'id' => $this->link->insert_id,
            'info' => $this->link->info,
            'warnings' => $this->link->warning_count,
        ];
    }

    public function query(string $sql, array $parameters): array
    {
        return ['rows' => array_map(texts(...), $this->run($sql, $parameters)->fetch_all(MYSQLI_NUM))];
    }

    public function batch(string $sql, array $rows): array
    {
        $statement = $this->link->prepare($sql);
        $counts = [];
        foreach ($rows as $row) {
            $statement->execute(array_map(value(...), $row));
            $counts[] = $statement->affected_rows;
        }
        return ['affected' => $counts];
    }

    public function begin(): void
    {
        $this->link->begin_transaction();
    }

    public function commit(): void
    {
        $this->link->commit();
    }

    public function rollback(): void
    {
        $this->link->rollback();
    }

    private function run(string $sql, array $parameters): mysqli_result|bool
    {
        if ($parameters === []) {
            $result = $this->link->query($sql);
            $this->affected = $this->link->affected_rows;
            return $result;
        }
        $types = implode(array_map(fn ($each) => is_int($each) ? 'i' : (is_array($each) ? 'b' : 's'), $parameters));
        $statement = $this->link->prepare($sql);
        $values = array_map(fn ($each) => is_array($each) ? null : $each, $parameters);
        $statement->bind_param($types, ...$values);
        foreach ($parameters as $index => $each) {
            if (is_array($each)) {
                foreach (str_split(value($each), 100_000) as $piece) {
                    $statement->send_long_data($index, $piece);
                }
            }
        }
        $statement->execute();
        $this->affected = $statement->affected_rows;
        return $statement->get_result();
    }
}

function value(mixed $each): mixed
{
    return is_array($each) ? base64_decode($each['base64'], true) : $each;
}

/** Connect; a persistent connection is PHP's pool of one. */
function connected(string $how, bool $persistent = false): Client
{
    return $how === 'mysqli' ? new MysqliClient($persistent) : new PdoClient($how === 'pdo-emulated', $persistent);
}

/** Change rows in a local transaction on the connection that is kept. */
function pooled(string $how, string $sql, array $parameters): array
{
    $given = connected($how, true);
    $given->begin();
    $answer = ['affected' => $given->execute($sql, $parameters)['affected']];
    $given->commit();
    return $answer;
}

/** Tell of one large cell by its length and its hash. */
function digest(array $rows): array
{
    $data = $rows['rows'][0][0];
    return ['bytes' => strlen($data), 'sha256' => hash('sha256', $data)];
}

function texts(array $row): array
{
    return array_map(fn ($cell) => $cell === null ? null : (string) $cell, $row);
}

function told(Throwable $error): array
{
    if ($error instanceof PDOException) {
        [$state, $code, $message] = $error->errorInfo ?? ['', 0, $error->getMessage()];
        return ['code' => $code ?? 0, 'state' => $state, 'message' => $message ?? $error->getMessage()];
    }
    $state = $error instanceof mysqli_sql_exception ? $error->getSqlState() : '';
    return ['code' => $error->getCode(), 'state' => $state, 'message' => $error->getMessage()];
}

// A lost connection is also told by a warning, which is no answer.
set_error_handler(fn (int $level, string $message) => fwrite(STDERR, "$message\n") !== false);
$client = null;
while (($line = fgets(STDIN)) !== false) {
    $asked = json_decode($line, true, flags: JSON_THROW_ON_ERROR);
    try {
        $answer = ['done' => true];
        switch ($asked['do']) {
            case 'connect':
                $client = null;
                $client = connected($argv[1]);
                break;
            case 'execute':
                $answer = $client->execute($asked['sql'], $asked['parameters']);
                break;
            case 'query':
                $answer = $client->query($asked['sql'], $asked['parameters']);
                break;
            case 'digest':
                $answer = digest($client->query($asked['sql'], $asked['parameters']));
                break;
            case 'pooled':
                $answer = pooled($argv[1], $asked['sql'], $asked['parameters']);
                break;
            case 'batch':
                $answer = $client->batch($asked['sql'], $asked['rows']);
                break;
            default:
                $client->{$asked['do']}();
        }
    } catch (Throwable $error) {
        $answer = ['error' => told($error)];
    }
    fwrite(STDOUT, json_encode($answer, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE) . "\n");
}
