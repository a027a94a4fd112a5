<?php

/*
 * A client of the username-and-password contract as a PHP shop writes it that may install nothing: file_get_contents and
 * stream contexts, no extension but json. It prints what came of each step, a line of JSON each, for php_test.go to judge.
 *
 *     php client.php session    BASE USERNAME PASSWORD       log in, call, refresh, log out, call
 *     php client.php lost       BASE USERNAME PASSWORD VIA   a refresh whose answer VIA cuts off, repeated without a key
 *     php client.php lost-keyed BASE USERNAME PASSWORD VIA   the same under one Idempotency-Key
 */

declare(strict_types=1);

/** @return array{step: string, status: int, body: ?string} status 0: no answer came */
function ask(string $step, string $method, string $url, array $headers = [], ?array $json = null): array
{
    $http = ['method' => $method, 'ignore_errors' => true, 'timeout' => 10, 'follow_location' => 0];
    if ($json !== null) {
        $headers[] = 'Content-Type: application/json';
        $http['content'] = json_encode($json, JSON_THROW_ON_ERROR);
    }
    $http['header'] = $headers;
    $body = @file_get_contents($url, false, stream_context_create(['http' => $http]));
    // A connection that was cut gives no status line. PHP reports what arrived before the cut as success, so that a client
    // must ask for the status line and not only for false.
    $status = 0;
    if (isset($http_response_header[0]) && preg_match('~^HTTP/\S+ (\d{3})~', $http_response_header[0], $m)) {
        $status = (int) $m[1];
    }
    $answer = ['step' => $step, 'status' => $status, 'body' => $body === false ? null : $body];
    echo json_encode($answer, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES), "\n";
    return $answer;
}

function data(array $answer): array
{
    return json_decode((string) $answer['body'], true, 16, JSON_THROW_ON_ERROR)['data'];
}

function bearer(string $token): array
{
    return ['Authorization: Bearer ' . $token];
}

[, $scenario, $base, $username, $password] = $argv;
$credentials = ['username' => $username, 'password' => $password];
$call = $base . '/api/v1/products';

$pair = data(ask('login', 'POST', $base . '/auth/login', [], $credentials));

if ($scenario === 'session') {
    ask('call', 'GET', $call, bearer($pair['access_token']));
    $next = data(ask('refresh', 'POST', $base . '/auth/refresh', [], ['refresh_token' => $pair['refresh_token']]));
    ask('call with the new token', 'GET', $call, bearer($next['access_token']));
    ask('call with the old token', 'GET', $call, bearer($pair['access_token']));
    ask('logout', 'POST', $base . '/auth/logout', bearer($next['access_token']));
    ask('call after logout', 'GET', $call, bearer($next['access_token']));
    ask('call with the old token after logout', 'GET', $call, bearer($pair['access_token']));
    ask('refresh after logout', 'POST', $base . '/auth/refresh', [], ['refresh_token' => $next['refresh_token']]);
    exit(0);
}

// The answer to a refresh is lost on its way. The key is drawn once for each refresh and kept beside the token before
// anything is sent, so that the repetition has the same one, even if this process dies in between.
$via = $argv[5];
$headers = $scenario === 'lost-keyed' ? ['Idempotency-Key: ' . bin2hex(random_bytes(16))] : [];
ask('lost refresh', 'POST', $via . '/auth/refresh', $headers, ['refresh_token' => $pair['refresh_token']]);
$again = ask('repeated refresh', 'POST', $base . '/auth/refresh', $headers, ['refresh_token' => $pair['refresh_token']]);
ask('call with the old token', 'GET', $call, bearer($pair['access_token']));
if ($again['status'] === 200) {
    $pair = data($again);
} else {
    $pair = data(ask('login again', 'POST', $base . '/auth/login', [], $credentials));
}
ask('call with the new token', 'GET', $call, bearer($pair['access_token']));
ask('next refresh', 'POST', $base . '/auth/refresh', [], ['refresh_token' => $pair['refresh_token']]);
